package collect

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// The benchmarks make a page of 5,000 series from answers as they lie in a connection's buffer: 200 tables of 23
// counters with three labels, 20 databases of 15, and 100 gauges with two.

type grid struct {
	table Table
	rows  [][][]byte
	next  int
}

func (g *grid) Fields() []string {
	var fields []string
	for _, column := range g.table.Columns {
		fields = append(fields, column.Field)
	}
	return fields
}
func (g *grid) Next() bool         { g.next++; return g.next <= len(g.rows) }
func (g *grid) Value(i int) []byte { return g.rows[g.next-1][i] }
func (g *grid) Err() error         { return nil }

func newGrid(name string, labels, values, rows int, column func(field, name, help string) Column) *grid {
	g := &grid{table: Table{Name: name, Prefix: "bench_" + name, Sources: []Source{Always(name)}}}
	for i := range labels {
		g.table.Columns = append(g.table.Columns, Label(fmt.Sprintf("label%d", i)))
	}
	for i := range values {
		field := fmt.Sprintf("value%d", i)
		g.table.Columns = append(g.table.Columns, column(field, field+"_total", "What value "+strconv.Itoa(i)+" of the rows tells."))
	}
	for r := range rows {
		var row [][]byte
		for i := range labels {
			row = append(row, fmt.Appendf(nil, "%s_object_%d_%d", name, i, r))
		}
		for i := range values {
			row = append(row, strconv.AppendInt(nil, int64(r)*7919*int64(i+1)*104729%9876543210, 10))
		}
		g.rows = append(g.rows, row)
	}
	return g
}

func grids() []*grid {
	return []*grid{
		newGrid("tables", 3, 23, 200, Count),
		newGrid("databases", 1, 15, 20, Count),
		newGrid("activity", 2, 1, 100, Value),
	}
}

const gridSeries = 200*23 + 20*15 + 100

// gridDriver is a driver whose only connection answers from memory.
type gridDriver struct{ grids map[string]*grid }

func (d gridDriver) Connect(context.Context) (Conn, error) { return d, nil }
func (gridDriver) Classify(error) fault.Kind               { return fault.Internal }
func (gridDriver) Identity() Identity                      { return Identity{Product: "bench"} }
func (gridDriver) Usage() Usage                            { return Usage{} }
func (gridDriver) Close()                                  {}
func (gridDriver) Probes() []Probe {
	return []Probe{{Operation: Ping, Question: Question{Text: "databases"}}, {Operation: Read, Question: Question{Text: "databases"}}}
}

func (d gridDriver) Do(_ context.Context, questions []Question, read func(int, Answer, error)) error {
	for i, question := range questions {
		answer := *d.grids[question.Text]
		read(i, &answer, nil)
	}
	return nil
}

func gridTarget(tb testing.TB) *Target {
	driver, catalogue := gridDriver{map[string]*grid{}}, Catalogue{}
	for _, g := range grids() {
		driver.grids[g.table.Name] = g
		collector, err := g.table.Collector()
		if err != nil {
			tb.Fatal(err)
		}
		catalogue = append(catalogue, collector)
	}
	target := NewTarget(Spec{Name: "bench", Driver: driver, Collectors: catalogue}, NewSelf("bench", nil), slog.New(slog.DiscardHandler))
	tb.Cleanup(target.Close)
	return target
}

// scrapeUnshared scrapes anew, as if the results before were too old to be shared.
func scrapeUnshared(t *Target) *Result {
	t.mu.Lock()
	t.scraped = nil
	t.mu.Unlock()
	return t.Scrape(context.Background())
}

func benchmarkScrape(b *testing.B, format expfmt.Format) {
	target := gridTarget(b)
	var buffer bytes.Buffer
	zipped, _ := gzip.NewWriterLevel(io.Discard, gzip.BestSpeed)
	measure(b, func() {
		var page metric.Page
		scrapeUnshared(target).AddTo(&page)
		buffer.Reset()
		zipped.Reset(&buffer)
		if err := page.Encode(zipped, format); err != nil {
			b.Fatal(err)
		}
		if err := zipped.Close(); err != nil {
			b.Fatal(err)
		}
	})
	b.ReportMetric(float64(buffer.Len()), "bytes/page")
}

// measure reports what one call costs for each of the page's series, and the processor time of the whole process,
// garbage collection included.
func measure(b *testing.B, call func()) {
	b.ReportAllocs()
	call() // connections, pools and caches are warm
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	used := processorTime(b)
	for b.Loop() {
		call()
	}
	used = processorTime(b) - used
	runtime.ReadMemStats(&after)
	calls := float64(b.N)
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/calls/gridSeries, "allocs/series")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/calls/gridSeries, "µs/series")
	b.ReportMetric(float64(used.Microseconds())/calls/1000, "cpu-ms/op")
}

func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func BenchmarkScrape5000(b *testing.B) {
	for name, format := range map[string]expfmt.Format{"text": expfmt.FmtText, "openmetrics": expfmt.FmtOpenMetrics_1_0_0, "protobuf": expfmt.FmtProtoDelim} {
		b.Run(name, func(b *testing.B) { benchmarkScrape(b, format) })
	}
}

// BenchmarkRegistry5000 makes the same page in the usual way: a collector of const metrics in a registry, behind
// promhttp with its own compression.
func BenchmarkRegistry5000(b *testing.B) {
	for name, accept := range map[string]string{
		"text": "text/plain", "openmetrics": "application/openmetrics-text;version=1.0.0",
		"protobuf": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
	} {
		b.Run(name, func(b *testing.B) {
			registry := prometheus.NewRegistry()
			registry.MustRegister(newConstCollector())
			handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
			request := httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody)
			request.Header.Set("Accept", accept)
			request.Header.Set("Accept-Encoding", "gzip")
			var size int
			measure(b, func() {
				response := httptest.NewRecorder()
				handler.ServeHTTP(response, request)
				if size = response.Body.Len(); response.Code != http.StatusOK {
					b.Fatal(response.Body.String())
				}
			})
			b.ReportMetric(float64(size), "bytes/page")
		})
	}
}

// constCollector is written as exporters on client_golang usually are.
type constCollector struct {
	grids []*grid
	descs map[*grid][]*prometheus.Desc
}

func newConstCollector() *constCollector {
	c := &constCollector{grids: grids(), descs: map[*grid][]*prometheus.Desc{}}
	for _, g := range c.grids {
		var labels []string
		for _, column := range g.table.Columns {
			if column.kind == labelColumn {
				labels = append(labels, column.Name)
				continue
			}
			c.descs[g] = append(c.descs[g], prometheus.NewDesc(g.table.Prefix+"_"+column.Name, column.Help, labels, nil))
		}
	}
	return c
}

func (c *constCollector) Describe(out chan<- *prometheus.Desc) {
	for _, descs := range c.descs {
		for _, desc := range descs {
			out <- desc
		}
	}
}

func (c *constCollector) Collect(out chan<- prometheus.Metric) {
	for _, g := range c.grids {
		first := len(g.table.Columns) - len(c.descs[g])
		for _, row := range g.rows {
			labels := make([]string, first)
			for i := range labels {
				labels[i] = string(row[i])
			}
			for i, desc := range c.descs[g] {
				value, _ := strconv.ParseFloat(string(row[first+i]), 64)
				kind := prometheus.CounterValue
				if strings.Contains(g.table.Name, "activity") {
					kind = prometheus.GaugeValue
				}
				out <- prometheus.MustNewConstMetric(desc, kind, value, labels...)
			}
		}
	}
}
