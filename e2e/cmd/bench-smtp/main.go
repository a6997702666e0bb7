// Bench-smtp measures what a probe of a mail server costs, beside blackbox_exporter on the same Postfix, and how long
// a page of a thousand takes, of which none or a tenth is dead. It prints Markdown.
package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/e2e/bench"
	"github.com/alfred-agent-platform/backend-exporters/e2e/servers"
)

// patience bounds the whole run.
const patience = 5 * time.Minute

func main() { bench.Main("bench-smtp", patience, run) }

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("bench-smtp", flag.ContinueOnError)
	exporter := flags.String("exporter", "bin/smtp-exporter", "the exporter's binary")
	if err := flags.Parse(args); err != nil {
		return err
	}
	path, err := filepath.Abs(*exporter)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-smtp")
	if err != nil {
		return err
	}
	return errors.Join(beside(ctx, path, dir), onePage(ctx, path, dir), os.RemoveAll(dir))
}

// begin runs an exporter with a configuration file.
func begin(ctx context.Context, path, file, configuration string, args ...string) (*servers.Exporter, error) {
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return nil, err
	}
	return servers.StartExporter(ctx, path, nil, append([]string{"--config.file=" + file}, args...)...)
}
