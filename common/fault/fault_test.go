package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"
)

func TestOf(t *testing.T) {
	plain := errors.New("boom")
	for name, test := range map[string]struct {
		err  error
		want Kind
	}{
		"nil":                  {nil, None},
		"unclassified":         {plain, Internal},
		"classified":           {New(Denied, "reading"), Denied},
		"wrapped":              {fmt.Errorf("outer: %w", New(Busy, "reading")), Busy},
		"joined":               {errors.Join(plain, New(Limited, "reading")), Limited},
		"deadline":             {context.DeadlineExceeded, Timeout},
		"cancelled":            {fmt.Errorf("asking: %w", context.Canceled), Timeout},
		"network timeout":      {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, Timeout},
		"network":              {&net.OpError{Op: "dial", Err: plain}, Unreachable},
		"closed by us":         {net.ErrClosed, Unreachable},
		"closed by the peer":   {io.EOF, Unreachable},
		"closed within a word": {fmt.Errorf("header: %w", io.ErrUnexpectedEOF), Unreachable},
		"without a kind":       {&Error{Err: plain}, Internal},
		"kind beats cause":     {Wrap(Denied, "asking", context.Canceled), Denied},
	} {
		if got := Of(test.err); got != test.want {
			t.Errorf("%s: Of gives %q, want %q", name, got, test.want)
		}
	}
}

func TestWrap(t *testing.T) {
	plain := errors.New("boom")
	for name, test := range map[string]struct {
		err  error
		want Kind
		text string
	}{
		"gives a kind":               {Wrap(Auth, "connecting", plain), Auth, "connecting: boom"},
		"keeps the innermost kind":   {Wrap(Auth, "connecting", Wrap(Denied, "login", plain)), Denied, "connecting: login: boom"},
		"needs no operation":         {Wrap(Auth, "", plain), Auth, "boom"},
		"no kind is judged":          {Wrap(None, "asking", io.EOF), Unreachable, "asking: EOF"},
		"no kind, nobody knows":      {Wrap(None, "asking", plain), Internal, "asking: boom"},
		"an error without any cause": {New(Config, "no host"), Config, "no host"},
	} {
		if got := Of(test.err); got != test.want {
			t.Errorf("%s: the kind is %q, want %q", name, got, test.want)
		}
		if got := test.err.Error(); got != test.text {
			t.Errorf("%s: the text is %q, want %q", name, got, test.text)
		}
	}
	if err := Wrap(Auth, "connecting", nil); err != nil {
		t.Errorf("Wrap makes the error %v of nil", err)
	}
	if !errors.Is(Wrap(Auth, "connecting", plain), plain) {
		t.Error("the cause is lost")
	}
}

func TestKindsAreLabels(t *testing.T) {
	seen := map[Kind]bool{None: true}
	for _, kind := range Kinds() {
		if seen[kind] {
			t.Errorf("%q is listed twice, or is no kind", kind)
		}
		seen[kind] = true
	}
	if len(seen) != 11 {
		t.Errorf("there are %d kinds, the documentation knows 10", len(seen)-1)
	}
}

// Every reason is explained, and only those are.
func TestKindsAreExplained(t *testing.T) {
	for _, kind := range Kinds() {
		if kind.Meaning() == "" {
			t.Errorf("%s has no meaning", kind)
		}
	}
	if None.Meaning() != "" {
		t.Error("no fault has a meaning")
	}
}
