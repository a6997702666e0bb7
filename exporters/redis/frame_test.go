package main

import (
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// followAll feeds a text in pieces of a size and tells how many replies ended in it.
func followAll(f *frame, text string, size int) (ended int, err error) {
	for len(text) > 0 {
		piece := []byte(text[:min(size, len(text))])
		text = text[len(piece):]
		for len(piece) > 0 {
			n, over, err := f.follow(piece)
			if err != nil {
				return ended, err
			}
			if over {
				ended++
			}
			piece = piece[n:]
		}
	}
	return ended, nil
}

func TestFrameFindsTheEndOfReplies(t *testing.T) {
	for text, want := range map[string]int{
		"+OK\r\n": 1, ":-12\r\n": 1, "-ERR no\r\n": 1, "_\r\n": 1, ",1.5\r\n": 1, "#t\r\n": 1, "(123\r\n": 1,
		"$0\r\n\r\n": 1, "$3\r\na\r\n\r\n": 1, "$-1\r\n": 1, "*-1\r\n": 1, "*0\r\n": 1, "=7\r\ntxt:abc\r\n": 1,
		"*2\r\n*2\r\n:1\r\n:2\r\n$1\r\na\r\n":        1,
		"%1\r\n+a\r\n*1\r\n%0\r\n~1\r\n:1\r\n+x\r\n": 3,
		"+OK\r\n$2\r\nab\r\n*1\r\n:1\r\n":            3,
		"*2\r\n:1\r\n":                               0,
	} {
		for size := 1; size <= len(text); size++ {
			var f frame
			ended, err := followAll(&f, text, size)
			if err != nil || ended != want || f.inside() != (want == 0) {
				t.Errorf("%q in pieces of %d: %d replies, inside %v, error %v; want %d", text, size, ended, f.inside(), err, want)
			}
		}
	}
}

func TestFrameRefuses(t *testing.T) {
	for text, want := range map[string]fault.Kind{
		"*2000000000\r\n":                    fault.Limited,
		"$99999999999999999\r\n":             fault.Limited,
		"%1000000\r\n":                       fault.Limited,
		strings.Repeat("*1\r\n", maxDepth+1): fault.Limited,
		"+" + strings.Repeat("x", maxLine+1): fault.Limited,
		"*600000\r\n*600000\r\n":             fault.Limited,
		"HTTP/1.1 400 Bad Request\r\n":       fault.Malformed,
		"\x00\x01\x02":                       fault.Malformed,
		"$\r\n":                              fault.Malformed,
		"$-\r\n":                             fault.Malformed,
		"$-2\r\n":                            fault.Malformed,
		"$1-1\r\n":                           fault.Malformed,
		"*1x\r\n":                            fault.Malformed,
		"$1\r\nab\r\n":                       fault.Malformed,
		"$1\r\na\r\r":                        fault.Malformed,
		"+OK\n":                              fault.Malformed,
		"+OK\r+":                             fault.Malformed,
		">2\r\n+invalidate\r\n*0\r\n":        fault.Malformed,
		"|1\r\n+a\r\n+b\r\n+OK\r\n":          fault.Malformed,
		"$?\r\n":                             fault.Malformed,
	} {
		for _, size := range []int{1, 2, len(text)} {
			var f frame
			if _, err := followAll(&f, text, size); fault.Of(err) != want {
				t.Errorf("%.40q in pieces of %d: %v, want %s", text, size, err, want)
			}
		}
	}
}

func TestQuestionsGoThereAndBack(t *testing.T) {
	for _, args := range [][]string{{"PING"}, {"GET", "a\r\nb"}, {"GET", ""}, {"SET", "\xff\x00", "$1\r\n"}} {
		got, err := arguments(ask(args...))
		if err != nil || strings.Join(got, "|") != strings.Join(args, "|") || len(got) != len(args) {
			t.Errorf("%q became %q, %v", args, got, err)
		}
	}
	for _, text := range []string{"", "INFO", "*1\r\n", "*1\r\n$9\r\nINFO\r\n", "*1\r\n$4\r\nINFO\r\nx", "*0\r\n", "*-1\r\n", "*9\r\n$1\r\na\r\n"} {
		question := ask("PING")
		question.Text = text
		if _, err := arguments(question); fault.Of(err) != fault.Internal {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n%1\r\n+b\r\n:1\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var frame frame
		n, ended, err := frame.follow(raw)
		if !ended || err != nil {
			return
		}
		if v, err := parseReply(raw[:n]); err != nil {
			t.Errorf("%q passes the guard and cannot be read as %v: %v", raw[:n], v, err)
		}
	})
}
