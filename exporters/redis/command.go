package main

import (
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// ask makes a question of a command and its arguments, in the form in which it goes over the wire. That form holds any
// bytes, so that nothing needs to be quoted.
func ask(args ...string) collect.Question {
	var text strings.Builder
	text.WriteString("*" + strconv.Itoa(len(args)) + "\r\n")
	for _, arg := range args {
		text.WriteString("$" + strconv.Itoa(len(arg)) + "\r\n" + arg + "\r\n")
	}
	return collect.Question{Text: text.String()}
}

// arguments gives back what ask was given.
func arguments(question collect.Question) ([]string, error) {
	count, rest, ok := header(question.Text, '*')
	args := make([]string, 0, count)
	for range count {
		var length int
		if length, rest, ok = header(rest, '$'); !ok || len(rest) < length+2 || rest[length:length+2] != "\r\n" {
			return nil, fault.New(fault.Internal, "the question is no command")
		}
		args, rest = append(args, rest[:length]), rest[length+2:]
	}
	if !ok || count == 0 || rest != "" {
		return nil, fault.New(fault.Internal, "the question is no command")
	}
	return args, nil
}

// header reads a sign and a number up to the end of the line.
func header(text string, sign byte) (number int, rest string, ok bool) {
	line, rest, found := strings.Cut(text, "\r\n")
	if !found || line == "" || line[0] != sign {
		return 0, "", false
	}
	number, err := strconv.Atoi(line[1:])
	if err != nil || number < 0 || number > len(rest) {
		return 0, "", false
	}
	return number, rest, true
}
