package servers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// PrometheusOptions says what a Prometheus server scrapes. Its configuration is Config,
// else ConfigFile, else one made from the other fields.
type PrometheusOptions struct {
	Config     string // the text of prometheus.yml
	ConfigFile string

	Targets        map[string][]string // host:port of the targets of each job
	ScrapeInterval time.Duration       // also of rule evaluation; 0 means 1 s
	ScrapeTimeout  time.Duration       // 0 means ScrapeInterval
	Rules          []string            // paths of rule files; patterns are allowed in the last element
	Alertmanagers  []string            // host:port

	Port int    // 0 means a free one
	Dir  string // where the server's folder is made; empty means the system's for temporary files
}

// Prometheus is a running Prometheus server.
type Prometheus struct {
	dir     string
	url     string
	process *Process
}

// Sample is one series of an answer, at the time of the answer.
type Sample struct {
	Labels map[string]string // the metric's name is the label __name__
	Value  float64
	Time   time.Time
}

// Target is one target that Prometheus scrapes.
type Target struct {
	Labels     map[string]string `json:"labels"`
	ScrapeURL  string            `json:"scrapeUrl"`
	Health     string            `json:"health"` // up, down or unknown
	LastError  string            `json:"lastError"`
	LastScrape time.Time         `json:"lastScrape"`
}

// NewPrometheus starts a server for a test and closes it at the test's end.
func NewPrometheus(tb testing.TB, o PrometheusOptions) *Prometheus {
	tb.Helper()
	p, err := StartPrometheus(tb.Context(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// StartPrometheus starts a server with no data. The caller closes it.
func StartPrometheus(ctx context.Context, o PrometheusOptions) (*Prometheus, error) {
	dir, err := os.MkdirTemp(o.Dir, "prometheus-")
	if err != nil {
		return nil, err
	}
	p := &Prometheus{dir: dir}
	if err := p.start(ctx, o); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Prometheus) start(ctx context.Context, o PrometheusOptions) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	program, err := Tool("prometheus")
	if err != nil {
		return err
	}
	configFile, err := o.file(p.dir)
	if err != nil {
		return err
	}
	if o.Port == 0 {
		if o.Port, err = FreePort(); err != nil {
			return err
		}
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(o.Port))
	p.url = "http://" + address
	p.process, err = StartProcess(ProcessOptions{Path: program, Dir: p.dir, Args: []string{
		"--config.file=" + configFile,
		"--storage.tsdb.path=" + filepath.Join(p.dir, "data"),
		"--web.listen-address=" + address,
	}})
	if err != nil {
		return err
	}
	return p.process.until(ctx, func() bool {
		_, err := p.get(ctx, "/-/ready")
		return err == nil
	})
}

// file returns the absolute path of the configuration file, which it writes unless the caller has one.
func (o PrometheusOptions) file(dir string) (string, error) {
	if o.Config == "" && o.ConfigFile != "" {
		return filepath.Abs(o.ConfigFile)
	}
	text := o.Config
	if text == "" {
		var err error
		if text, err = o.generate(); err != nil {
			return "", err
		}
	}
	path := filepath.Join(dir, "prometheus.yml")
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// generate writes the configuration as JSON, which is YAML too.
func (o PrometheusOptions) generate() (string, error) {
	type object = map[string]any
	interval := o.ScrapeInterval
	if interval == 0 {
		interval = time.Second
	}
	timeout := o.ScrapeTimeout
	if timeout == 0 {
		timeout = interval
	}
	var rules []string
	for _, path := range o.Rules {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return "", err
		}
		rules = append(rules, absolute)
	}
	scrapes := []object{}
	for job, targets := range o.Targets {
		scrapes = append(scrapes, object{"job_name": job, "static_configs": []object{{"targets": targets}}})
	}
	config := object{
		"global": object{
			"scrape_interval":     milliseconds(interval),
			"scrape_timeout":      milliseconds(timeout),
			"evaluation_interval": milliseconds(interval),
		},
		"rule_files":     rules,
		"scrape_configs": scrapes,
	}
	if len(o.Alertmanagers) > 0 {
		config["alerting"] = object{"alertmanagers": []object{{"static_configs": []object{{"targets": o.Alertmanagers}}}}}
	}
	text, err := json.MarshalIndent(config, "", "  ")
	return string(text), err
}

// milliseconds writes a duration as Prometheus reads it: it knows no fractions.
func milliseconds(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

// URL returns the address of the server, without a slash at the end.
func (p *Prometheus) URL() string { return p.url }

// Process returns the running server.
func (p *Prometheus) Process() *Process { return p.process }

// Query evaluates a PromQL expression now. A scalar is one sample without labels.
func (p *Prometheus) Query(ctx context.Context, promql string) ([]Sample, error) {
	var answer struct {
		ResultType string          `json:"resultType"`
		Result     json.RawMessage `json:"result"`
	}
	if err := p.api(ctx, "/api/v1/query?query="+url.QueryEscape(promql), &answer); err != nil {
		return nil, fmt.Errorf("%s: %w", promql, err)
	}
	switch answer.ResultType {
	case "vector":
		return vector(answer.Result)
	case "scalar":
		var scalar point
		err := json.Unmarshal(answer.Result, &scalar)
		return []Sample{{Value: scalar.value, Time: scalar.time}}, err
	}
	return nil, fmt.Errorf("%s: the answer is a %s, want a vector or a scalar", promql, answer.ResultType)
}

func vector(text []byte) ([]Sample, error) {
	var series []struct {
		Metric map[string]string `json:"metric"`
		Value  point             `json:"value"`
	}
	if err := json.Unmarshal(text, &series); err != nil {
		return nil, err
	}
	samples := make([]Sample, len(series))
	for i, one := range series {
		samples[i] = Sample{Labels: one.Metric, Value: one.Value.value, Time: one.Value.time}
	}
	return samples, nil
}

// point is a value and its time, in JSON [seconds, "value"].
type point struct {
	time  time.Time
	value float64
}

func (p *point) UnmarshalJSON(text []byte) error {
	var seconds float64
	var value string
	if err := json.Unmarshal(text, &[2]any{&seconds, &value}); err != nil {
		return err
	}
	var err error
	p.time = time.UnixMilli(int64(seconds * 1000))
	p.value, err = strconv.ParseFloat(value, 64)
	return err
}

// Targets returns the targets that are being scraped.
func (p *Prometheus) Targets(ctx context.Context) ([]Target, error) {
	var answer struct {
		ActiveTargets []Target `json:"activeTargets"`
	}
	err := p.api(ctx, "/api/v1/targets?state=active", &answer)
	return answer.ActiveTargets, err
}

// api gets a path of the HTTP API and decodes the data of its answer.
func (p *Prometheus) api(ctx context.Context, path string, data any) error {
	body, err := p.get(ctx, path)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, &struct {
		Data any `json:"data"`
	}{data})
}

func (p *Prometheus) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return body, err
}

// Close stops the server and removes its data.
func (p *Prometheus) Close() error {
	var err error
	if p.process != nil {
		err = p.process.Stop()
	}
	return errors.Join(err, os.RemoveAll(p.dir))
}
