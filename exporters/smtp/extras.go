package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// extra is what a target has beside the dialogue, such as checks of its DNS records: collectors of its own. Its key is a
// pointer in the module, where it holds for /probe too, or in the source, where it is for targets of the configuration
// alone; nil switches it off.
type extra interface {
	// prepare fills in what the configuration leaves out and reports what cannot work.
	prepare() error
	// collectors makes those of one target. They ask on their own: what they get as a connection is no use to them.
	collectors(at place, m *module) collect.Catalogue
}

// extraCatalogue lists the collectors of all extras there are, for the flags and the documentation.
func extraCatalogue() collect.Catalogue {
	return nil
}

// extras gives those that the module switches on.
func (m *module) extras() []extra {
	return nil
}

// extras gives those that the source switches on.
func (s source) extras() []extra {
	return nil
}

// prepareAll prepares extras.
func prepareAll(all []extra) error {
	for _, e := range all {
		if err := e.prepare(); err != nil {
			return err
		}
	}
	return nil
}

// collectorsOf makes the collectors of extras for a target.
func collectorsOf(all []extra, at place, m *module) (more collect.Catalogue) {
	for _, e := range all {
		more = append(more, e.collectors(at, m)...)
	}
	return more
}
