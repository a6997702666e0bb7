// Demo shows the exporters at work: it starts a small server of each kind with some
// load, its exporter, and a Prometheus that scrapes them all, says where to look, and
// ends everything on Ctrl-C. With --check it looks itself, also while each server is
// down, and exits with 0 only when all is as it should be.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/redis/go-redis/v9/logging"
)

func main() {
	logging.Disable() // that a server is down is part of the demo
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	bin := flags.String("bin", "bin", "folder of the exporters' binaries")
	rules := flags.String("rules", "alerts/*.yml", "pattern of the rule files that Prometheus loads")
	check := flags.Bool("check", false, "check that it works, without a person, and end")
	pictures := flags.String("pictures", "", "draw the dashboards as pictures into this folder, and end")
	dashboards := flags.String("dashboards", "dashboards/*.json", "pattern of the dashboards to draw")
	drawer := flags.String("drawer", ".cache/picture/render.mjs", "the program that draws them")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}

	s := &stack{}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.start(ctx, *bin, *rules); err != nil {
		return s.explain(err)
	}
	if *check {
		if err := s.check(ctx); err != nil {
			return s.explain(err)
		}
		fmt.Println("demo-check: passed")
		return nil
	}
	if *pictures != "" {
		return s.draw(ctx, *dashboards, *drawer, *pictures)
	}
	s.describe(ctx)
	if err := s.wait(ctx); err != nil {
		return s.explain(err)
	}
	fmt.Println("\nending the demo")
	return nil
}
