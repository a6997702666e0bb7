package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

// Probes are the steps of the health check. A server is up when it answers an authenticated read, which an open health
// endpoint says nothing of; it is degraded while it says that it is not ready to serve what it holds, or does not take
// what the canary writes, where there is one.
func (d *driver) Probes() []collect.Probe {
	probes := []collect.Probe{
		{Operation: collect.Ping, Question: collect.Question{Text: askList}},
		{Operation: collect.Read, Question: collect.Question{Text: askReady}},
	}
	if d.canary != nil {
		idle := func(collect.Identity) bool { return !d.canary.Ready() }
		probes = append(probes, collect.Probe{Operation: collect.Write, Question: collect.Question{Text: askWrite}, Skip: idle})
	}
	return probes
}
