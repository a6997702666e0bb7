package main

import (
	"strconv"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

// clusterSlots is the number of hash slots that every cluster has.
const clusterSlots = 16384

// clusterNode is one line of CLUSTER NODES.
type clusterNode struct {
	id, address string
	flags       string // between commas
	primary     string // "-" for a primary
	pong        float64
	epoch       float64
	connected   bool
	slots       float64
	moving      map[string]float64 // slots that are on the way: "in" or "out"
}

// readClusterNodes reads the node that we ask and those that it knows.
func readClusterNodes(text string) ([]clusterNode, error) {
	var nodes []clusterNode
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(fields) < 8 {
			return nil, fault.New(fault.Malformed, "a cluster node with few fields")
		}
		address, _, _ := strings.Cut(fields[1], ",") // a host name may follow
		address, _, _ = strings.Cut(address, "@")    // and the port of the cluster's bus
		n := clusterNode{
			id: fields[0], address: address, flags: "," + fields[2] + ",", primary: fields[3], connected: fields[7] == "connected",
			moving: map[string]float64{},
		}
		n.pong, _ = parseNumber(fields[5])
		n.epoch, _ = parseNumber(fields[6])
		for _, slots := range fields[8:] {
			if err := n.addSlots(slots); err != nil {
				return nil, err
			}
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}

// addSlots counts a slot, a range of them, or one that moves: 7, 7-9, [7->-NODE] away from us, [7-<-NODE] to us.
func (n *clusterNode) addSlots(text string) error {
	if strings.HasPrefix(text, "[") {
		if strings.Contains(text, "->-") {
			n.moving["out"]++
		} else {
			n.moving["in"]++
		}
		return nil
	}
	first, last, isRange := strings.Cut(text, "-")
	if !isRange {
		last = first
	}
	from, err := strconv.Atoi(first)
	to, problem := strconv.Atoi(last)
	if err != nil || problem != nil || from < 0 || to < from || to >= clusterSlots {
		return fault.New(fault.Malformed, "slots that are none")
	}
	n.slots += float64(to - from + 1)
	return nil
}

func (n *clusterNode) is(flag string) bool { return strings.Contains(n.flags, ","+flag+",") }

// clusterNodes shows the cluster as the node that we ask sees it. What the nodes see is compared by asking each.
func clusterNodes() *collect.Collector {
	v := clusterView{
		info:    gauge("cluster_node_info", "A node that this one knows: its address, its role and, of a replica, the node that it follows; the value is 1.", "node", "address", "role", "primary"),
		linked:  gauge("cluster_node_link_up", "Whether this node is connected to the other (1) or not (0).", "node", "address"),
		suspect: gauge("cluster_node_suspected", "Whether this node alone finds that the other does not answer (1) or not (0).", "node", "address"),
		failed:  gauge("cluster_node_failed", "Whether the cluster has agreed that the node has failed (1) or not (0).", "node", "address"),
		pong:    gauge("cluster_node_last_pong_timestamp_seconds", "When this node last heard from the other, by its own clock.", "node", "address"),
		epoch:   gauge("cluster_node_config_epoch", "Epoch of the node's slots, or of those of the node that it follows.", "node", "address"),
		slots:   gauge("cluster_node_slots", "Hash slots of the node, as this one sees it.", "node", "address"),
		moving:  gauge("cluster_slots_moving", "Hash slots of this node that are on the way to another (out) or from another (in).", "direction"),
		open:    gauge("cluster_slots_unassigned", "Hash slots that no node has, as this one sees it; keys in them cannot be read."),
		nodes:   gauge("cluster_nodes", "Nodes that this one knows, by role.", "role"),
		lonely:  gauge("cluster_primaries_without_replica", "Nodes with slots and without a replica that has not failed."),
	}
	return &collect.Collector{
		Name: "cluster_nodes", Help: "CLUSTER NODES: nodes, links and slots as this node sees them.",
		Families: v.families(), Needs: collect.Needs{Feature: cluster},
		Ask: asks(ask("CLUSTER", "NODES")),
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			nodes, err := readClusterNodes(answered(answer).Text())
			if err == nil {
				v.put(nodes, out)
			}
			return err
		},
	}
}

// clusterView declares what is said of the nodes.
type clusterView struct {
	info, linked, suspect, failed, pong, epoch, slots *metric.Family
	moving, open, nodes, lonely                       *metric.Family
}

func (v clusterView) families() []*metric.Family {
	return []*metric.Family{v.info, v.linked, v.suspect, v.failed, v.pong, v.epoch, v.slots, v.moving, v.open, v.nodes, v.lonely}
}

func (v clusterView) put(nodes []clusterNode, out *metric.Batch) {
	assigned, roles, followed := 0.0, map[string]float64{}, map[string]bool{}
	for i := range nodes {
		n := &nodes[i]
		assigned += n.slots
		role, primary := "primary", ""
		if n.is("slave") {
			role, primary = "replica", n.primary
			followed[n.primary] = followed[n.primary] || !n.is("fail")
		}
		roles[role]++
		out.Add(v.info, 1, n.id, n.address, role, primary)
		v.putNode(n, role, out)
	}
	lonely := 0.0
	for i := range nodes {
		if nodes[i].slots > 0 && !followed[nodes[i].id] {
			lonely++
		}
	}
	for _, role := range []string{"primary", "replica"} {
		out.Add(v.nodes, roles[role], role)
	}
	out.Add(v.open, clusterSlots-assigned)
	out.Add(v.lonely, lonely)
}

func (v clusterView) putNode(n *clusterNode, role string, out *metric.Batch) {
	out.Add(v.epoch, n.epoch, n.id, n.address)
	out.Add(v.failed, metric.Truth(n.is("fail")), n.id, n.address)
	if role == "primary" {
		out.Add(v.slots, n.slots, n.id, n.address)
	}
	if n.is("myself") {
		out.Add(v.moving, n.moving["in"], "in")
		out.Add(v.moving, n.moving["out"], "out")
		return
	}
	out.Add(v.linked, metric.Truth(n.connected), n.id, n.address)
	out.Add(v.suspect, metric.Truth(n.is("fail?")), n.id, n.address)
	if n.pong > 0 {
		out.Add(v.pong, n.pong/1e3, n.id, n.address)
	}
}

// clusterLinks reads CLUSTER LINKS: what waits to be sent to the other nodes.
func clusterLinks() *collect.Collector {
	allocated := gauge("cluster_link_send_buffer_bytes", "Memory of what waits to be sent over the links with the node, by who opened them (to the node or from it).", "node", "direction")
	used := gauge("cluster_link_send_buffer_used_bytes", "Bytes that wait to be sent over the links with the node.", "node", "direction")
	return &collect.Collector{
		Name: "cluster_links", Help: "CLUSTER LINKS: what waits to be sent to the other nodes.", Off: true,
		Families: []*metric.Family{allocated, used}, Needs: collect.Needs{Feature: cluster},
		Ask: asks(ask("CLUSTER", "LINKS")),
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for _, link := range answered(answer).Items() {
				node, direction := link.Get("node").Text(), link.Get("direction").Text()
				addNumber(out, allocated, link.Get("send-buffer-allocated"), 1, node, direction)
				addNumber(out, used, link.Get("send-buffer-used"), 1, node, direction)
			}
			return nil
		},
	}
}

// slotStats reads CLUSTER SLOT-STATS: the slots with most keys. Most servers count only these; what else they know of a
// slot stands beside it.
func slotStats() *collect.Collector {
	families := map[string]*metric.Family{
		"key-count":         gauge("cluster_slot_keys", "Keys in the slot, of the 10 slots of this node with most keys.", "slot"),
		"cpu-usec":          counter("cluster_slot_cpu_seconds_total", "Time spent on the slot, of the 10 slots of this node with most keys, where the server counts it.", "slot"),
		"network-bytes-in":  counter("cluster_slot_received_bytes_total", "Bytes received for the slot, of the 10 slots of this node with most keys, where the server counts them.", "slot"),
		"network-bytes-out": counter("cluster_slot_sent_bytes_total", "Bytes sent for the slot, of the 10 slots of this node with most keys, where the server counts them.", "slot"),
	}
	return &collect.Collector{
		Name: "cluster_slot_stats", Help: "CLUSTER SLOT-STATS: the slots of this node with most keys. The server looks at all its slots.", Off: true, Class: collect.Dear,
		Families: []*metric.Family{families["key-count"], families["cpu-usec"], families["network-bytes-in"], families["network-bytes-out"]},
		Needs:    collect.Needs{Feature: cluster},
		Ask:      asks(ask("CLUSTER", "SLOT-STATS", "ORDERBY", "KEY-COUNT", "LIMIT", "10", "DESC")),
		Read: func(_ int, answer collect.Answer, out *metric.Batch) error {
			for _, slot := range answered(answer).Items() {
				pair := slot.Items()
				if len(pair) < 2 {
					return fault.New(fault.Malformed, "a slot without statistics")
				}
				for field, value := range pair[1].Pairs() {
					per := 1.0
					if field == "cpu-usec" {
						per = 1e6
					}
					if f := families[field]; f != nil {
						addNumber(out, f, value, per, pair[0].Text())
					}
				}
			}
			return nil
		},
	}
}
