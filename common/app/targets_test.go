package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// nowhere is a driver of a server that does not answer.
type nowhere struct{}

func (nowhere) Probes() []collect.Probe { return nil }
func (nowhere) Connect(context.Context) (collect.Conn, error) {
	return nil, fault.New(fault.Unreachable, "nobody is there")
}
func (nowhere) Classify(err error) fault.Kind { return fault.Of(err) }

// Of the targets that /probe is asked for, those are kept that were asked for last.
func TestProbedTargetsAreBounded(t *testing.T) {
	all := newTargets(collect.NewSelf("x", nil), slog.New(slog.DiscardHandler), 2)
	defer all.close()
	described := 0
	probe := func(n int) *kept {
		key := fmt.Sprint(n)
		k, err := all.probe(Probed{Key: key, Describe: func() (collect.Spec, error) {
			described++
			return collect.Spec{Name: key, Service: key, Driver: nowhere{}}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	first, second := probe(1), probe(2)
	if probe(1) != first {
		t.Error("a target was made twice")
	}
	probe(3)
	if probe(1) != first {
		t.Error("a target that was asked for lately was forgotten")
	}
	if probe(2) == second {
		t.Error("the target that was not asked for the longest is still there")
	}
	if result := second.Scrape(t.Context()); result.Fault != fault.Busy {
		t.Errorf("a forgotten target was not closed: %q", result.Fault)
	}
	if described != 4 { // 1, 2, 3, and 2 again after it was forgotten
		t.Errorf("targets were described %d times", described)
	}
	if _, err := all.probe(Probed{Key: "4", Describe: func() (collect.Spec, error) { return collect.Spec{}, ErrNotAllowed }}); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("what cannot be described is asked: %v", err)
	}
	if len(all.probed) != 2 || all.order.Len() != 2 {
		t.Errorf("%d targets are kept, in an order of %d", len(all.probed), all.order.Len())
	}
}
