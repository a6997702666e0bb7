package main

import (
	"context"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// said is a connection on which a server says something and then hangs up.
type said struct{ io.Reader }

func (said) Write(b []byte) (int, error) { return len(b), nil }

// longLines is a text longer than the buffer, with a line that is longer too.
func longLines() string {
	var text strings.Builder
	for i := range 500 {
		text.WriteString("id=" + strconv.Itoa(i) + strings.Repeat(" x=y", 20) + "\n")
	}
	text.WriteString("long=" + strings.Repeat("z", 3*readBuffer) + "\nlast")
	return text.String()
}

// TestLongText holds that a text is read line by line whichever way it arrives, and what comes after it as well.
func TestLongText(t *testing.T) {
	text := longLines()
	for form, raw := range map[string]string{
		"a string":         bulk(text),
		"a verbatim text":  "=" + strconv.Itoa(len(text)+4) + "\r\ntxt:" + text + "\r\n",
		"ended by newline": bulk(text + "\n"),
	} {
		for arriving, reader := range map[string]io.Reader{
			"at once": strings.NewReader(raw + "+OK\r\n"), "byte by byte": iotest.OneByteReader(strings.NewReader(raw + "+OK\r\n")),
		} {
			l := line{conn: said{reader}}
			if err := l.listen(); err != nil {
				t.Fatal(err)
			}
			first, ended, err := l.begin()
			if err != nil || ended || !l.long() {
				t.Fatalf("%s: ended %v, long %v, %v", form, ended, l.long(), err)
			}
			var got strings.Builder
			long, count := l.read(t.Context(), first), 0
			for line := range long.lines() {
				got.Write(line)
				count++
			}
			if strings.TrimSuffix(got.String(), "\n") != text || count != 502 || long.err != nil {
				t.Errorf("%s, arriving %s: %d bytes in %d lines, %v; want %d bytes", form, arriving, got.Len(), count, long.err, len(text))
			}
			if next, err := l.reply(); next.Text() != "OK" || err != nil {
				t.Errorf("%s, arriving %s: after it comes %q, %v", form, arriving, next.Text(), err)
			}
		}
	}
}

// TestLongTextThatIsNone holds that a text which ends early, or otherwise than announced, is not taken for whole.
func TestLongTextThatIsNone(t *testing.T) {
	text := longLines()
	whole := bulk(text)
	for name, test := range map[string]struct {
		raw  string
		want fault.Kind
	}{
		"cut in the text":       {whole[:20000], fault.Unreachable},
		"cut before its end":    {whole[:len(whole)-2], fault.Unreachable},
		"cut within its end":    {whole[:len(whole)-1], fault.Unreachable},
		"longer than announced": {"$40000\r\n" + text + "\r\n", fault.Malformed},
		"a line without end":    {bulk(strings.Repeat("x", 2*maxLine)), fault.Limited},
	} {
		l := line{conn: said{strings.NewReader(test.raw)}}
		_ = l.listen()
		first, _, err := l.begin()
		if err != nil {
			t.Fatal(err)
		}
		long := l.read(t.Context(), first)
		for range long.lines() {
		}
		if kind := (&driver{}).Classify(long.err); long.err == nil || kind != test.want {
			t.Errorf("%s: %v, %s, want %s", name, long.err, kind, test.want)
		}
	}
}

// TestClientsThatStop holds that a list of clients which stops arriving fails the collector that reads it by the time
// that is up, and that questions after it get no answer of another's.
func TestClientsThatStop(t *testing.T) {
	list := bulk(strings.Repeat("id=1 addr=127.0.0.1:1 name=a\n", 5000))
	for name, test := range map[string]struct {
		sent string
		want string
	}{"whole": {list, "OK"}, "stops": {list[:70000], "broken: timeout"}} {
		s := newScripted(t, of("CLIENT", test.sent))
		c := connected(t, s.driver())
		var lines int
		var failed error
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		got := ""
		err := c.Do(ctx, []collect.Question{ask("ECHO"), ask("CLIENT", "LIST"), ask("ECHO", "again")}, func(i int, answer collect.Answer, _ error) {
			switch i {
			case 1:
				for range answered(answer).Lines() {
					lines++
				}
				failed = answer.Err()
			case 2:
				got = answered(answer).Text()
			}
		})
		if err != nil {
			got = "broken: " + string(c.driver.Classify(err))
		}
		if got != test.want || (failed == nil) != (test.want == "OK") || failed != nil && c.driver.Classify(failed) != fault.Timeout || lines < 2000 {
			t.Errorf("%s: %q, %d lines, %v", name, got, lines, failed)
		}
	}
}

// TestClientsOfTwoCollectors holds that a list which two wait for is handed to both, and one that is read in part is not
// taken for the next answer.
func TestClientsOfTwoCollectors(t *testing.T) {
	list := strings.Repeat("id=1 addr=127.0.0.1:1 name=a\n", 5000)
	c := connected(t, newScripted(t, of("CLIENT", bulk(list))).driver())
	for range 2 {
		if got := say(t, c, ask("CLIENT", "LIST"), ask("CLIENT", "LIST"), ask("ECHO")); len(got) != 3 || got[0] != list || got[1] != list || got[2] != "OK" {
			t.Errorf("%d answers", len(got))
		}
		var left []string
		err := c.Do(t.Context(), []collect.Question{ask("CLIENT", "LIST"), ask("ECHO")}, func(_ int, answer collect.Answer, _ error) {
			for range answered(answer).Lines() {
				break
			}
			left = append(left, answered(answer).Text())
		})
		if err != nil || len(left) != 2 || left[1] != "OK" {
			t.Errorf("%q, %v", left, err)
		}
	}
}
