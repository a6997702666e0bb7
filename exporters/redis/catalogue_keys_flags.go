package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"
)

// samplingFlags are the flags of the sample of keys, which --collector.key_sample switches on.
type samplingFlags struct {
	commands        int
	time            time.Duration
	patterns        []string
	names, replicas bool
}

func (f *samplingFlags) flags(a *kingpin.Application) {
	usual := defaultSampling()
	a.Flag("key-sample.commands", "Commands that the sample of keys may send in a run, every five minutes; four look at one key.").
		Default(strconv.Itoa(usual.commands)).Envar("REDIS_EXPORTER_KEY_SAMPLE_COMMANDS").IntVar(&f.commands)
	a.Flag("key-sample.time", "Time that a run of the sample of keys may take.").
		Default(usual.time.String()).Envar("REDIS_EXPORTER_KEY_SAMPLE_TIME").DurationVar(&f.time)
	a.Flag("key-sample.pattern", "Regular expression that keys are counted by; may be repeated. A key counts for the first that it matches.").
		Envar("REDIS_EXPORTER_KEY_SAMPLE_PATTERN").StringsVar(&f.patterns)
	a.Flag("key-sample.names", "Show the largest and the hottest keys of the sample by name.").
		Envar("REDIS_EXPORTER_KEY_SAMPLE_NAMES").BoolVar(&f.names)
	a.Flag("key-sample.replicas-only", "Take the sample of keys on replicas alone.").
		Envar("REDIS_EXPORTER_KEY_SAMPLE_REPLICAS_ONLY").BoolVar(&f.replicas)
}

// sampling gives what the flags say, once they are read.
func (f *samplingFlags) sampling() (sampling, error) {
	s := sampling{commands: f.commands, time: f.time, names: f.names, replicas: f.replicas}
	for _, text := range f.patterns {
		pattern, err := regexp.Compile(text)
		if err != nil {
			return s, fmt.Errorf("--key-sample.pattern: %w", err)
		}
		s.patterns = append(s.patterns, pattern)
	}
	if f.commands < 1 || f.time <= 0 {
		return s, errors.New("--key-sample.commands and --key-sample.time must be above 0")
	}
	return s, nil
}
