package main

import (
	"context"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// Examine finds what the target lacks.
func (b *backend) Examine(context.Context, collect.Spec) ([]app.Finding, error) {
	return nil, nil
}
