// Package collect asks a backend everything that is due in one batch, and reads the answers back in order.
//
// A Collector says what to ask and reads what comes; most are made from a Table, which is pure data. A Target is one
// backend with one kept connection. Its Scrape plans, asks, reads and hands out what is finished when time is up.
package collect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// Class tells what a collector costs the server, and so when it is asked.
type Class uint8

// Cheap ones go first in the batch, dear ones last, where they delay nobody. Slow ones run in the background on a
// second connection; a scrape serves their last answer with its age.
const (
	Cheap Class = iota
	Dear
	Slow
)

// Question is one thing asked of a backend: SQL, a command, a path. Prelude holds statements that belong to it and
// whose answers nobody reads, such as settings that hold for this question alone.
type Question struct {
	Prelude []string
	Text    string
}

// Answer is a table of what came back. Value gives a field of the present row, nil where it is NULL or absent; its
// bytes hold until Next is called again.
type Answer interface {
	Fields() []string
	Next() bool
	Value(i int) []byte
	Err() error
}

// Drain reads an answer to its end for the sake of whether it can be read.
func Drain(answer Answer) error {
	more := true
	for more {
		more = answer.Next()
	}
	return answer.Err()
}

// Identity is what a connection knows of its server without asking again.
type Identity struct {
	Product  string            // "PostgreSQL"
	Version  int               // comparable: 170004 for PostgreSQL 17.4
	Text     string            // as the server writes it: "17.4 (Debian …)"
	Replica  bool              // follows another server and cannot be written
	Features map[string]string // extensions, modules and the like; the value is where they live (a schema)
}

// Needs is what a server must have before a collector is asked. The zero value needs nothing.
type Needs struct {
	Feature string // an extension or module
	Primary bool
	Replica bool
}

// missing says what the server lacks, or "".
func (n Needs) missing(id Identity) string {
	_, has := id.Features[n.Feature]
	switch {
	case n.Feature != "" && !has:
		return n.Feature
	case n.Primary && id.Replica:
		return "primary"
	case n.Replica && !id.Replica:
		return "replica"
	}
	return ""
}

// Collector is one named part of a scrape, published whole or not at all.
//
// It asks and reads (both set), sharing the batch of its target with all others; or it talks (Talk), sharing one batch
// after another with them, where an answer tells what to ask next; or it runs a dialogue of its own (Run). A family
// whose name ends with * declares names that only the server knows.
type Collector struct {
	Name      string
	Help      string
	Families  []*metric.Family
	Class     Class
	Every     time.Duration // slow class: how long an answer is good
	Off       bool          // only on when asked for
	Limit     int           // samples a run; 0 means DefaultSeriesLimit
	Own       bool          // a user's: that the server does not take the question is a mistake in the configuration
	Apart     bool          // slow class: its Run asks others than the server, also while that is down; it gets no Conn
	Remembers bool          // something of its target from one scrape to the next, so that each target needs one of its own
	// PerMember is for what is asked of each of a target's Members as well.
	PerMember bool
	Needs     Needs

	// Ask says what to ask of this server; nothing means that the server is too old or too new.
	Ask func(Identity) []Question
	// Read takes the answer to question i. It is called in order, for one target never at the same time as itself.
	Read func(i int, answer Answer, out *metric.Batch) error
	// Talk begins a talk for one scrape.
	Talk func(Identity) Talk
	// Run holds a dialogue, alone on the connection, after the batch of the others. It must end when the context does.
	Run func(ctx context.Context, conn Conn, out *metric.Batch) error

	// Background, beside one of these ways, is work with a schedule of its own, of which a scrape tells what is known. It
	// lasts as long as an exporter serves the target, and must end when the context does.
	Background func(ctx context.Context)

	withConst func(text string) func(int, Answer, *metric.Batch) error // gives another Read; of a table's collector
}

// Shareable tells whether targets may have the collector in common. One that holds dialogues may remember something.
func (c *Collector) Shareable() bool {
	return !c.Remembers && c.Run == nil && c.Background == nil
}

// Talk is what a collector asks in one scrape, round by round. It is used by one goroutine at a time.
type Talk interface {
	// Ask gives the questions of the next round; none end the talk. None in the first round mean that this server cannot
	// be asked.
	Ask() []Question
	// Read takes the answer to question i of the round, in order, or the error that this question alone met. What it
	// returns is the collector's failure, so that an error it can do without is not returned.
	Read(i int, answer Answer, err error, out *metric.Batch) error
}

// maxRounds is how often a talk may ask.
const maxRounds = 8

// DefaultSeriesLimit is the number of samples a collector may publish where it sets no limit of its own.
const DefaultSeriesLimit = 20000

func (c *Collector) limit() int {
	if c.Limit > 0 {
		return c.Limit
	}
	return DefaultSeriesLimit
}

// labelled tells whether the collector's samples have a label.
func (c *Collector) labelled(name string) bool {
	return slices.ContainsFunc(c.Families, func(f *metric.Family) bool { return slices.Contains(f.Labels, name) })
}

// declares tells whether a family may be published by the collector.
func (c *Collector) declares(f *metric.Family) bool {
	return slices.Contains(c.Families, f) || slices.ContainsFunc(c.Families, func(own *metric.Family) bool {
		prefix, open := strings.CutSuffix(own.Name, "*")
		return open && strings.HasPrefix(f.Name, prefix) && f.Check() == nil
	})
}

// Catalogue is the list of an exporter's collectors.
type Catalogue []*Collector

// Check reports what is wrong with a catalogue: names missing or taken twice, a family that no format can carry or
// that is declared in two ways.
func (c Catalogue) Check() error {
	names, families := map[string]bool{}, map[string]*metric.Family{}
	for _, collector := range c {
		if collector.Name == "" || names[collector.Name] {
			return fmt.Errorf("collector %q: the name is missing or taken", collector.Name)
		}
		names[collector.Name] = true
		if err := collector.check(); err != nil {
			return fmt.Errorf("collector %s: %w", collector.Name, err)
		}
		for _, family := range collector.Families {
			if err := family.Check(); err != nil {
				return fmt.Errorf("collector %s: %w", collector.Name, err)
			}
			if known := families[family.Name]; known != nil && (known.Type != family.Type || known.Help != family.Help) {
				return fmt.Errorf("collector %s: %s is declared elsewhere in another way", collector.Name, family.Name)
			}
			families[family.Name] = family
		}
	}
	return nil
}

// check reports what of a collector does not go together.
func (c *Collector) check() error {
	switch {
	case !c.hasOneWay():
		return errors.New("it must either ask and read, or talk, or run")
	case (c.Class == Slow) != (c.Every > 0):
		return errors.New("the slow class, and only it, needs Every")
	case c.Apart && (c.Class != Slow || c.Run == nil):
		return errors.New("only one of the slow class that runs can be apart")
	}
	return nil
}

// hasOneWay tells whether exactly one of the ways to ask is set.
func (c *Collector) hasOneWay() bool {
	ways := 0
	for _, set := range []bool{c.Ask != nil, c.Talk != nil, c.Run != nil} {
		if set {
			ways++
		}
	}
	return ways == 1 && (c.Ask == nil) == (c.Read == nil)
}

// Conn is one open connection of a driver. It is used by one goroutine at a time.
type Conn interface {
	// Identity is what is known of the server now: the newest answer, never a question of its own.
	Identity() Identity
	// Do asks all questions in one batch and calls read for each in order, with its answer or with the error that
	// this question alone met. An error of Do itself means that the connection is lost, and that the questions for
	// which read was not called have no answer. When the context ends, the server is told to stop.
	Do(ctx context.Context, questions []Question, read func(i int, answer Answer, err error)) error
	// Usage counts what the connection cost so far.
	Usage() Usage
	// Close ends the connection. It never waits for the server.
	Close()
}

// Usage is what a connection has cost since it was opened: turn-arounds (we spoke after the server had spoken), and
// bytes as they passed the wire.
type Usage struct {
	TurnArounds, Received, Sent int64
}

// Driver opens connections to one backend and knows its ways to fail.
type Driver interface {
	// Connect opens a connection, reading secrets and certificates anew.
	Connect(ctx context.Context) (Conn, error)
	// Classify tells the kind of an error of this driver's connections.
	Classify(err error) fault.Kind
	// Probes are the questions of the health check, asked at the head of each batch. A ping must be among them.
	Probes() []Probe
}

// Operation is one step of the health check.
type Operation string

// The operations of a health check that are questions.
const (
	Ping  Operation = "ping"
	Read  Operation = "read"
	Write Operation = "write"
)

// Probe is one question of the health check. One that the identity rules out is not asked.
type Probe struct {
	Operation Operation
	Question  Question
	Skip      func(Identity) bool
}
