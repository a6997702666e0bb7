package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
	"github.com/alfred-agent-platform/backend-exporters/common/suitetest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// recording is a fake server that gives the answers that a real one gave, byte for byte as they were. What was not
// recorded it does not know.
type recording struct {
	driver
	dir string
	id  collect.Identity
}

func (r *recording) Connect(context.Context) (collect.Conn, error) {
	c := conn{}
	raw, err := os.ReadFile(filepath.Join(r.dir, "info_all.resp"))
	if err != nil {
		return nil, err
	}
	v, err := parseReply(raw)
	if err != nil {
		return nil, err
	}
	c.identified((&tree{value: v}).Info())
	r.id = c.id
	return r, nil
}

func (r *recording) Probes() []collect.Probe    { return nil }
func (r *recording) Identity() collect.Identity { return r.id }
func (r *recording) Usage() collect.Usage       { return collect.Usage{} }
func (r *recording) Close()                     {}

func (r *recording) Do(_ context.Context, questions []collect.Question, read func(int, collect.Answer, error)) error {
	for i, question := range questions {
		args, err := arguments(question)
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(filepath.Join(r.dir, strings.ToLower(strings.Join(args, "_"))+".resp"))
		if errors.Is(err, fs.ErrNotExist) {
			read(i, nil, refusal("ERR unknown command"))
			continue
		}
		v, problem := parseReply(raw)
		if err := errors.Join(err, problem); err != nil {
			return err
		}
		read(i, &reply{tree: &tree{value: v}}, nil)
	}
	return nil
}

// scrapeOnce gives the page of one scrape, without what the exporter says of itself, and with what each collector that
// did not succeed says.
func scrapeOnce(t *testing.T, driver collect.Driver, list collect.Catalogue) string {
	t.Helper()
	target := collect.NewTarget(collect.Spec{Name: "test", Service: "redis", Driver: driver, Collectors: list}, collect.NewSelf("redis", nil), slog.New(slog.DiscardHandler))
	defer target.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	result := target.Scrape(ctx)
	var page metric.Page
	result.AddTo(&page)
	var text bytes.Buffer
	if err := page.Encode(&text, expfmt.FmtText); err != nil {
		t.Fatal(err)
	}
	var own strings.Builder
	for line := range strings.Lines(text.String()) {
		if name := regexp.MustCompile(`^(?:# (?:HELP|TYPE) )?(\w+)`).FindStringSubmatch(line); !strings.HasPrefix(name[1], "db_") && !strings.Contains(name[1], "_exporter_") && name[1] != "redis_up" && name[1] != "service_health" {
			own.WriteString(line)
		}
	}
	for _, c := range result.Collectors {
		switch {
		case c.Missing != "":
			own.WriteString("# " + c.Name + " is not for this server: " + c.Missing + "\n")
		case c.Fault != fault.None:
			own.WriteString("# " + c.Name + " failed: " + string(c.Fault) + "\n")
		}
	}
	return own.String()
}

// asked leaves out the collectors that hold dialogues, as a recording cannot answer what depends on answers, and the one
// that has nothing to ask without scripts.
func asked(list collect.Catalogue) collect.Catalogue {
	return slices.DeleteFunc(slices.Clone(list), func(c *collect.Collector) bool { return c.Run != nil || c.Name == "scripts" })
}

// TestRecorded holds what is made of recorded answers of real servers: Redis 7.0, a replica of it and a sentinel, Redis
// 8.0, a node of a cluster of it in which a node has failed and slots are moving, Valkey 8.1 and a node of its cluster.
func TestRecorded(t *testing.T) {
	dirs, err := filepath.Glob("testdata/replies/*")
	if err != nil || len(dirs) < 7 {
		t.Fatalf("%d recordings, %v", len(dirs), err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := scrapeOnce(t, &recording{dir: dir}, asked(beyond(beyondOptions{})))
			suitetest.Golden(t, dir+"/page.txt", got, *update)
		})
	}
}
