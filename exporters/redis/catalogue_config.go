package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// configNames are the settings that have metrics of their own. Others are asked for only where all are to be shown:
// passwords are among them.
var configNames = []string{"databases", "io-threads", "maxclients", "maxmemory", "repl-backlog-size", "client-output-buffer-limit", "commandlog-*"}

// askConfig asks for settings. Servers before 7.0 take one pattern at a time, and are asked for all: answers to one
// question are more easily shared than those to several.
func (o options) askConfig(id collect.Identity) []collect.Question {
	if o.allConfig || id.Version < 70000 {
		return []collect.Question{ask("CONFIG", "GET", "*")}
	}
	return []collect.Question{ask(append([]string{"CONFIG", "GET"}, configNames...)...)}
}

// secretSettings are never shown unless that is asked for.
func secretSettings(name string) bool {
	switch name {
	case "masterauth", "requirepass", "tls-key-file-pass", "tls-client-key-file-pass":
		return true
	}
	return false
}

// configFamilies declare what CONFIG GET becomes.
type configFamilies struct {
	numbers         map[string]*metric.Family
	limit, overcome *metric.Family
	text, value     *metric.Family // nil where not all settings are shown
}

// configuration reads CONFIG GET.
func configuration(o options) *collect.Collector {
	f := configFamilies{
		numbers: map[string]*metric.Family{
			"io-threads":        gauge("config_io_threads", "Threads that read and write, by the configuration."),
			"maxclients":        gauge("config_maxclients", "Connections that the server allows, by the configuration."),
			"maxmemory":         gauge("config_maxmemory", "Memory that the server may use for data, in bytes; 0 means no limit."),
			"repl-backlog-size": gauge("config_repl_backlog_size", "Size of the replication backlog by the configuration, in bytes."),
		},
		limit:    gauge("config_client_output_buffer_limit_bytes", "Size of the buffer for replies at which a client of the class is cut off, at once (hard) or after a time (soft); 0 means no limit.", "class", "limit"),
		overcome: gauge("config_client_output_buffer_limit_overcome_seconds", "How long a client of the class may be above the soft limit.", "class", "limit"),
	}
	collector := &collect.Collector{
		Name: "config", Help: "CONFIG GET: limits of the server, and all settings with --include-config-metrics.",
		Families: []*metric.Family{f.numbers["io-threads"], f.numbers["maxclients"], f.numbers["maxmemory"], f.numbers["repl-backlog-size"], f.limit, f.overcome},
		Ask: func(id collect.Identity) []collect.Question {
			if has(id, sentinel) {
				return nil
			}
			return o.askConfig(id)
		},
	}
	if o.allConfig {
		f.text = gauge("config_key_value", "A setting of the server and its text.", "key", "value")
		f.value = gauge("config_value", "A setting of the server that is a number.", "key")
		collector.Families = append(collector.Families, f.text, f.value)
	}
	collector.Read = func(_ int, answer collect.Answer, out *metric.Batch) error {
		for name, setting := range answered(answer).Pairs() {
			n, isNumber := setting.Number()
			if isNumber && f.numbers[name] != nil {
				out.Add(f.numbers[name], n)
			}
			if name == "client-output-buffer-limit" {
				f.bufferLimits(strings.Fields(setting.Text()), out)
			}
			if f.text == nil || o.redactConfig && secretSettings(name) {
				continue
			}
			out.Add(f.text, 1, name, setting.Text())
			if isNumber {
				out.Add(f.value, n, name)
			}
		}
		return nil
	}
	return collector
}

// bufferLimits reads "normal 0 0 0 slave 268435456 67108864 60 …".
func (f configFamilies) bufferLimits(words []string, out *metric.Batch) {
	for ; len(words) >= 4; words = words[4:] {
		for _, part := range []struct {
			family *metric.Family
			word   string
			limit  string
		}{{f.limit, words[1], "hard"}, {f.limit, words[2], "soft"}, {f.overcome, words[3], "soft"}} {
			if n, ok := parseNumber(part.word); ok {
				out.Add(part.family, n, words[0], part.limit)
			}
		}
	}
}

// snapshotSize looks at the snapshot where the server keeps it, which works only on the server's own machine.
func snapshotSize(o options) *collect.Collector {
	size := gauge("rdb_current_size_bytes", "Size of the snapshot as it lies on the disk; 0 where there is none.")
	var folder string
	return &collect.Collector{
		Name: "rdb_file", Help: "The size of the snapshot, for an exporter on the server's own machine.", Off: !o.snapshotSize,
		Families: []*metric.Family{size}, Remembers: true, // the folder, until the name is known
		Ask: asks(ask("CONFIG", "GET", "dir"), ask("CONFIG", "GET", "dbfilename")),
		Read: func(i int, answer collect.Answer, out *metric.Batch) error {
			if i == 0 {
				folder = answered(answer).Get("dir").Text()
				return nil
			}
			name := answered(answer).Get("dbfilename").Text()
			if folder == "" || name == "" || name != filepath.Base(name) || name == "." || name == ".." {
				return fault.New(fault.Malformed, "the server does not say where its snapshot is")
			}
			if _, err := os.Stat(folder); err != nil { // this is another machine
				return fault.Wrap(fault.Config, "looking at the folder of the snapshot", err)
			}
			about, err := os.Stat(filepath.Join(folder, name))
			switch {
			case os.IsNotExist(err):
				out.Add(size, 0)
				return nil
			case err != nil:
				return fault.Wrap(fault.Denied, "looking at the snapshot", err)
			case !about.Mode().IsRegular():
				return fault.New(fault.Config, "the snapshot is no file")
			}
			out.Add(size, float64(about.Size()))
			return nil
		},
	}
}
