package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mailbox"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/mark"
	"github.com/alfred-agent-platform/backend-exporters/exporters/smtp/internal/roundtrip"
)

// TestDeliveryPage holds the whole page of a round trip of which everything is known, and of one that has just begun.
func TestDeliveryPage(t *testing.T) {
	times := metric.NewRecorder([]float64{1, 10})
	times.Observe(2)
	for name, state := range map[string]roundtrip.State{
		"begun": {Times: metric.NewRecorder([]float64{1, 10}).Value()},
		"known": {
			Counts: roundtrip.Counts{
				Accepted: 9, Skipped: 1, Delivered: 4, Late: 1, Lost: 2, Duplicates: 3, Removed: 8,
				Refused: map[roundtrip.Refusal]uint64{{Phase: "rcpt", Reason: "greylisted"}: 5},
				Blind:   map[fault.Kind]uint64{fault.Auth: 6},
			},
			InFlight: 2, Oldest: 1500 * time.Millisecond, Times: times.Value(), Known: true, Readable: true, Present: 7,
			Last: &roundtrip.Arrival{At: time.UnixMilli(1_700_000_000_500), Took: 2 * time.Second, Found: mailbox.Found{
				Folder: "Junk", Header: mark.Header{
					"Received": {"a", "b"}, "Authentication-Results": {"mx.example.net; spf=pass; dkim=fail (bad\x00 key)"},
				},
			}},
		},
		"blind": {Times: times.Value(), Known: true, Last: &roundtrip.Arrival{At: time.Unix(1, 0)}},
	} {
		out := metric.NewBatch(1000)
		tellDelivery(state, out)
		var page metric.Page
		page.Add(out)
		var text bytes.Buffer
		if err := page.Encode(&text, expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
			t.Fatal(err)
		}
		suitetest.Golden(t, filepath.Join("testdata", "delivery_"+name+".txt"), text.String(), os.Getenv("UPDATE_GOLDEN") != "")
	}
}

func TestJudgeDelivery(t *testing.T) {
	arrival := &roundtrip.Arrival{}
	for name, c := range map[string]struct {
		state roundtrip.State
		known bool
		want  fault.Kind
	}{
		"just begun":             {roundtrip.State{}, false, fault.None},
		"looked":                 {roundtrip.State{Known: true, Readable: true}, false, fault.None},
		"delivered":              {roundtrip.State{Known: true, Readable: true, Last: arrival}, true, fault.None},
		"lost":                   {roundtrip.State{Known: true, Readable: true, Last: arrival, LastLost: true}, true, fault.Timeout},
		"lost from the start":    {roundtrip.State{Known: true, Readable: true, LastLost: true}, true, fault.Timeout},
		"cannot log in":          {roundtrip.State{Known: true, Problem: fault.Auth}, true, fault.Auth},
		"cannot log in any more": {roundtrip.State{Known: true, Problem: fault.Auth, Last: arrival}, true, fault.Auth},
	} {
		if known, err := judgeDelivery(c.state); known != c.known || fault.Of(err) != c.want {
			t.Errorf("%s: %v, %v", name, known, err)
		}
	}
}

// TestDoctorOfMailboxes holds that the doctor says why a mailbox cannot be read.
func TestDoctorOfMailboxes(t *testing.T) {
	r, err := readTrip(t, strings.Replace(goodTrip, "imap: {address: imap.example.net, username: inbox, password: hunter2}", "maildir: {path: /none}", 1))
	if err != nil {
		t.Fatal(err)
	}
	trip, err := r.start(&driver{module: &module{}}, "")
	if err != nil {
		t.Fatal(err)
	}
	findings := examineMailbox(t.Context(), trip)
	if len(findings) != 1 || !strings.Contains(findings[0].Problem, "/none") || !strings.Contains(findings[0].Remedy, "path") {
		t.Errorf("%v", findings)
	}
	path := t.TempDir()
	for _, part := range []string{"new", "cur"} {
		if err := os.Mkdir(filepath.Join(path, part), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	r.Mailbox.Maildir.Path = path
	if trip, err = r.start(&driver{module: &module{}}, ""); err != nil {
		t.Fatal(err)
	}
	if findings := examineMailbox(context.Background(), trip); len(findings) != 0 {
		t.Errorf("%v", findings)
	}
}

var documentedYAML = regexp.MustCompile("(?s)```yaml\n(.*?)```")

// TestDocumentedRoundTrips holds that what the documentation shows can be configured so.
func TestDocumentedRoundTrips(t *testing.T) {
	text, err := os.ReadFile("../../docs/smtp-round-trips.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ROUND_TRIP_SECRET", "INBOX_PASSWORD", "PROBE_PASSWORD"} {
		t.Setenv(name, "0123456789abcdef")
	}
	examples := documentedYAML.FindAllStringSubmatch(string(text), -1)
	if len(examples) == 0 {
		t.Fatal("there is no example")
	}
	for i, example := range examples {
		if setup, _, err := load(t, example[1]); err != nil || len(setup.Targets) == 0 {
			t.Errorf("example %d: %v", i+1, err)
		}
	}
	for _, f := range deliveries.all {
		if !strings.Contains(string(text), "`"+f.Name+"`") {
			t.Errorf("the documentation does not explain %s", f.Name)
		}
	}
}
