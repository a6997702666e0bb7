package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/health"
)

// Files tells what the configuration file may hold, and what counts without it.
func (b *backend) Files() []app.File {
	return []app.File{{Flag: "config.file", Holds: file{
		Targets: []source{{Health: &writeProbe{TTL: healthTTL}}}, Dependents: health.DefaultDependents(),
	}}}
}

// Environment lists the variables that stand for flags of redis_exporter which have other names here.
func (b *backend) Environment() []app.Variable {
	return []app.Variable{
		{Name: "REDIS_EXPORTER_LOG_LEVEL, REDIS_EXPORTER_DEBUG", Help: "Of redis_exporter: `--log.level`; REDIS_EXPORTER_DEBUG=true is the level debug."},
		{Name: "REDIS_EXPORTER_LOG_FORMAT", Help: "Of redis_exporter: `--log.format`; txt is logfmt."},
	}
}

var (
	_ app.Configurable  = (*backend)(nil)
	_ app.Environmental = (*backend)(nil)
)
