package main

import (
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// modules reads INFO MODULES: which modules there are, and what those say that we know.
func modules() *collect.Collector {
	labels := []string{"name", "ver", "api", "filters", "usedby", "using"}
	loaded := gauge("module_info", "A module that the server has loaded.", labels...)
	families := infoFamilies(moduleFields)
	return &collect.Collector{
		Name: "modules", Help: "INFO MODULES: the modules and what they say of themselves; --include-modules-metrics.", Off: true,
		Families: append([]*metric.Family{loaded}, families...), Ask: asks(ask("INFO", "MODULES")), Class: collect.Dear,
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			i := answered(answer).Info()
			for _, line := range i.Section("modules") {
				if line.field == "module" {
					out.Add(loaded, 1, moduleLabels(line.text, labels)...)
				}
			}
			for at, f := range moduleFields {
				if n, ok := f.read(i); ok {
					out.Add(families[at], n)
				}
			}
			return nil
		},
	}
}

// moduleLabels reads name=search,ver=21005,api=1,filters=0,usedby=[],using=[a|b],options=[…].
func moduleLabels(text string, labels []string) []string {
	values, pair := make([]string, len(labels)), infoPairs(text)
	for i, label := range labels {
		values[i] = strings.Clone(pair(label))
	}
	return values
}
