package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// script is a user's Lua script that gives pairs of names and numbers.
type script struct{ name, text string }

// scriptCollector runs the scripts at the end of the batch of a scrape: a script holds the server up for as long as it
// runs, and should not hold up the other answers. Names, labels and numbers are those of redis_exporter.
func scriptCollector(scripts []script, readOnly bool) *collect.Collector {
	values := gauge("script_values", "Numbers that the collect script gave.", "key", "filename")
	result := gauge("script_result", "How the collect script ended: 0 failed, 1 gave numbers, 2 gave nothing.", "filename")
	command := "EVAL"
	if readOnly {
		command = "EVAL_RO"
	}
	questions := make([]collect.Question, 0, len(scripts))
	for _, s := range scripts {
		questions = append(questions, ask(command, s.text, "0", "0"))
	}
	return &collect.Collector{
		Name: "scripts", Help: "EVAL: numbers from the Lua scripts of --script.", Class: collect.Dear,
		Families: []*metric.Family{values, result},
		Talk: func(collect.Identity) collect.Talk {
			return &oneRound{questions: questions, read: func(i int, r *reply, err error, out *metric.Batch) error {
				out.Add(result, readScript(r, err, values, scripts[i].name, out), scripts[i].name)
				return nil
			}}
		},
	}
}

// readScript reads pairs of name and number, all or, where one is none, nothing.
func readScript(r *reply, err error, values *metric.Family, name string, out *metric.Batch) (result float64) {
	if err != nil {
		return 0
	}
	for _, text := range r.Pairs() {
		if _, ok := text.Number(); !ok {
			return 0
		}
	}
	if len(r.Items()) < 2 {
		return 2
	}
	for key, text := range r.Pairs() {
		addNumber(out, values, text, 1, key, name)
	}
	return 1
}
