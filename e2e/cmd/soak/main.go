// Soak runs all exporters on real servers for a long time, with faults that come and go by a seed, and judges every
// page. It exits with 0 only when no rule was broken. Ctrl-C ends it with the report of what was.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/alfred-agent-platform/backend-exporters/e2e/soak"
)

func main() {
	logging.Disable() // that a server is down is part of the soak
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	bin := flags.String("bin", "bin", "folder of the exporters' binaries")
	duration := flags.Duration("duration", 30*time.Minute, "how long")
	seed := flags.Uint64("seed", 0, "of the schedule; 0 draws one")
	to := flags.String("report", "", "file for the report: JSON where its name ends with .json, else Markdown")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if *seed == 0 {
		*seed = 1 + rand.Uint64N(1_000_000)
	}
	report, err := soak.Run(ctx, soak.Options{Bin: *bin, Duration: *duration, Seed: *seed, Progress: os.Stdout})
	if report == nil {
		return err
	}
	fmt.Println()
	fmt.Print(report)
	if *to != "" {
		err = errors.Join(err, report.Write(*to))
	}
	if err == nil && report.Failed() {
		err = errors.New("rules were broken")
	}
	return err
}
