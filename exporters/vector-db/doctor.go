package main

import (
	"context"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// Examine finds what the target does not let us know, and why.
func (s *settings) Examine(ctx context.Context, target collect.Spec) ([]app.Finding, error) {
	opened, err := target.Driver.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return nil, nil
}
