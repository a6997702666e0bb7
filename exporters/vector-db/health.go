package main

import "github.com/alfred-agent-platform/backend-exporters/common/collect"

// Probes are the steps of the health check. A server is up when it answers an authenticated read, which an open health
// endpoint says nothing of; it is degraded while it says that it is not ready to serve what it holds.
func (d *driver) Probes() []collect.Probe {
	return []collect.Probe{
		{Operation: collect.Ping, Question: collect.Question{Text: askList}},
		{Operation: collect.Read, Question: collect.Question{Text: askReady}},
	}
}
