package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// lived is how long the servers are looked at before their pictures are taken.
const lived = 5 * time.Minute

// draw waits until there is something to see, and draws each dashboard into a folder.
func (s *stack) draw(ctx context.Context, dashboards, program, folder string) error {
	files, err := filepath.Glob(dashboards)
	if err != nil || len(files) == 0 {
		return fmt.Errorf("--dashboards %s: none (%w)", dashboards, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	say("pictures are taken in %s", lived)
	if !pause(ctx, lived) {
		return ctx.Err()
	}
	var failed error
	for _, file := range files {
		picture := filepath.Join(folder, strings.TrimSuffix(filepath.Base(file), ".json")+".png")
		command := exec.CommandContext(ctx, "node", program, file, s.prometheus.URL(), picture, fmt.Sprint(int(lived.Minutes())))
		output, err := command.CombinedOutput()
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w\n%s", file, err, output))
			continue
		}
		fmt.Print(string(output))
		say("%s is drawn", picture)
	}
	return failed
}
