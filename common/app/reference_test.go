package app

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/config"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// explained is a backend with something of everything that the reference tells.
type explained struct{ holds any }

func (explained) Catalogue() (collect.Catalogue, error) {
	run := func(context.Context, collect.Conn, *metric.Batch) error { return nil }
	return collect.Catalogue{{Name: "thing", Help: "What it shows.", Run: run}, {Name: "other", Help: "More.", Off: true, Run: run}}, nil
}
func (explained) Flags(a *kingpin.Application) {
	a.Flag("thing.address", "Where | it is.").Default("localhost").Envar("THING_ADDRESS").String()
	a.Flag("collector.thing.limit", "Most things.").Default("5").Int()
	a.Flag("old", "Of another exporter.").Hidden().Bool()
}
func (explained) Load(func(string) bool, time.Duration) (*Setup, error) { return &Setup{}, nil }
func (explained) Examine(context.Context, collect.Spec) ([]Finding, error) {
	return nil, nil
}
func (e explained) Files() []File         { return []File{{"config.file", e.holds}} }
func (explained) Environment() []Variable { return []Variable{{"A, B", "What they hold."}} }

func TestReference(t *testing.T) {
	holds := struct {
		Password config.Secret `yaml:"password" help:"What nobody sees."`
	}{}
	e := Exporter{Name: "thing-exporter", Title: "Things", Prefix: "thing", Program: "thing_exporter", Env: "THING_EXPORTER",
		Probes: []string{"/scrape"}, Finds: "/find", Backend: explained{holds}}
	var stdout, stderr bytes.Buffer
	if code := e.Run([]string{"docs", "reference"}, &stdout, &stderr); code != 0 {
		t.Fatalf("%d: %s", code, stderr.String())
	}
	for _, want := range []string{
		"# Reference of thing-exporter\n",
		"\n## Flags of Things\n\n| flag | default | variable | what it is for |\n| --- | --- | --- | --- |\n| `--thing.address=…` | `localhost` | `THING_ADDRESS` | Where \\| it is. |\n\n",
		"| `--collector.thing.limit=…` | `5` | | Most things. |\n| `--[no-]collector.thing` | `true` | | What it shows. |\n| `--[no-]collector.other` | `false` | | More. |\n\n",
		"| `--web.listen-address=…` | `:9091` | | ",
		"\n## Flags for users of other exporters\n\n| flag | default | variable | what it is for |\n| --- | --- | --- | --- |\n| `--[no-]old` | | | Of another exporter. |\n\n",
		"| `thing-exporter healthcheck [--url=…] [--user=…] [--password-file=…] [--cert-file=…] [--key-file=…]` | ",
		"| `A`, `B` | What they hold. |\n",
		"\n## The file of --config.file\n",
		"| `password` | secret | | What nobody sees. |\n",
		"| GET | `/scrape` | ", "| GET | `/find` | ", "| POST, PUT | `/-/reload` | ", "| GET | `/` | ",
		"| `unreachable` | No connection, or it broke. |\n",
	} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the page lacks %q:\n%s", want, stdout.String())
		}
	}
	if strings.Contains(stdout.String(), "completion") {
		t.Error("the page shows flags of the parser")
	}
}

// A key that nobody explains fails the page, and so `make docs`.
func TestReferenceOfUnexplainedKey(t *testing.T) {
	e := Exporter{Name: "x", Prefix: "x", Program: "x_exporter", Env: "X", Backend: explained{struct {
		Password config.Secret `yaml:"password"`
	}{}}}
	var stdout, stderr bytes.Buffer
	if code := e.Run([]string{"docs", "reference"}, &stdout, &stderr); code != 1 || !strings.Contains(stderr.String(), "password, field Password") {
		t.Errorf("%d: %s", code, stderr.String())
	}
}
