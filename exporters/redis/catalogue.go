package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// catalogue lists all collectors in reading order.
//
// Names, types and labels are those of oliver006/redis_exporter, so that dashboards and alerts made for it go on
// working. testdata/differences.md says where we differ and why.
func catalogue(o options) (collect.Catalogue, error) {
	all := append(established(o), pendingEntries(o.keys)) // of the streams that are looked at, so it stands with them
	all = append(all, beyond(o.beyond)...)
	rename(all, o.namespace)
	return all, all.Check()
}

// options is what the flags say of the collectors.
type options struct {
	namespace      string // "" for that with which names are declared
	unknownFields  bool
	emptyDatabases bool // are shown with 0 keys
	allConfig      bool // all settings are shown
	redactConfig   bool // but for passwords
	snapshotSize   bool
	clientPorts    bool
	sentinelPeers  bool
	keys           keyChecks
	beyond         beyondOptions
}
