package main

import (
	"errors"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// writeProbe is the health key of a target: whether the health check writes, and what.
type writeProbe struct {
	Write bool          `yaml:"write" help:"Whether the health check writes a key of its own."`
	Key   string        `yaml:"key" help:"Key that it writes; alfred_health_check:HOST/redis-exporter without it."`
	TTL   time.Duration `yaml:"ttl" help:"Time after which the key expires."`
}

const (
	healthKey = "alfred_health_check"
	healthTTL = 5 * time.Minute
)

// flags adds the flags of the write probe, which hold for every target that has no health key.
func (w *writeProbe) flags(a *kingpin.Application) {
	a.Flag("health.write", "Let the health check write: one key of its own, which expires.").Envar("REDIS_EXPORTER_HEALTH_WRITE").BoolVar(&w.Write)
	a.Flag("health.key", "Key that the health check writes (default: "+healthKey+":HOST/redis-exporter).").Envar("REDIS_EXPORTER_HEALTH_KEY").StringVar(&w.Key)
	a.Flag("health.ttl", "Time after which the key of the health check expires.").Default(healthTTL.String()).Envar("REDIS_EXPORTER_HEALTH_TTL").DurationVar(&w.TTL)
}

// notOfKey is what a host's name is not to bring into a key.
var notOfKey = regexp.MustCompile(`[^A-Za-z0-9_.:/@-]`)

// probes gives the probe that is configured, if one is. A replica is not written to; of a cluster, the node that is
// asked need not have the key.
func (w *writeProbe) probes() ([]collect.Probe, error) {
	if w == nil || !w.Write {
		return nil, nil
	}
	key, ttl := w.Key, w.TTL
	if key == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, err
		}
		key = healthKey + ":" + notOfKey.ReplaceAllString(host, "_") + "/redis-exporter"
	}
	if ttl == 0 {
		ttl = healthTTL
	}
	if ttl < time.Second || ttl > 24*time.Hour {
		return nil, errors.New("health: ttl must be between a second and a day")
	}
	return []collect.Probe{{
		Operation: collect.Write,
		Question:  ask("SET", key, "ok", "EX", strconv.Itoa(int(ttl.Seconds()))),
		Skip:      func(id collect.Identity) bool { return id.Replica || has(id, sentinel) || has(id, cluster) },
	}}, nil
}
