package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Limits on what is asked of a cluster's other nodes.
const (
	maxNodes = 100    // that a connection is kept to
	maxHomes = 100000 // keys of which the node is remembered
	maxMoves = 3      // times that a question is sent on
)

// nodes is a cluster as a connection to one of its nodes has come to know it: from being told where keys are. The zero
// value follows nobody.
type nodes struct {
	follow  bool
	driver  *driver
	homes   map[string]string // node by question
	conns   map[string]*conn
	cost    collect.Usage // of connections that are closed
	aborted atomic.Bool
	mu      sync.Mutex // over conns
}

// moved is a question that another node has to answer: from now on, or only now, while the key moves.
type moved struct {
	question int
	node     string
	asking   bool // the key is moving, and the other node wants to hear that we know
}

// home gives the node that answered a question before, "" for the connection's own.
func (n *nodes) home(question collect.Question) string { return n.homes[question.Text] }

// moved reads a refusal that sends us to another node. Where we do not follow, there is none.
func (n *nodes) moved(at int, question collect.Question, err error) (to moved, sent bool) {
	var ours refusal
	if !n.follow || !errors.As(err, &ours) {
		return moved{}, false
	}
	words := strings.Fields(string(ours))
	if len(words) != 3 || words[0] != "MOVED" && words[0] != "ASK" || strings.HasPrefix(words[2], ":") {
		return moved{}, false
	}
	to = moved{question: at, node: words[2], asking: words[0] == "ASK"}
	if !to.asking {
		if n.homes == nil || len(n.homes) >= maxHomes {
			n.homes = map[string]string{}
		}
		n.homes[question.Text] = to.node
	}
	return to, true
}

// askElsewhere puts the questions that other nodes have to answer to those, one node after another.
func (b *batch) askElsewhere(ctx context.Context) error {
	for range maxMoves {
		if len(b.elsewhere) == 0 {
			return nil
		}
		byNode := map[string][]moved{}
		for _, m := range b.elsewhere {
			byNode[m.node] = append(byNode[m.node], m)
		}
		b.elsewhere = nil
		for node, all := range byNode {
			b.askNode(ctx, node, all)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	for _, m := range b.elsewhere {
		b.outcomes[m.question] = outcome{known: true, shared: b.outcomes[m.question].shared, err: fault.New(fault.Busy, "the cluster is moving the key")}
	}
	return nil
}

// askNode puts questions to one node. One that cannot be reached costs only these.
func (b *batch) askNode(ctx context.Context, node string, all []moved) {
	var questions []collect.Question
	var whose []int // position in all by question, -1 for a word of ours
	for i, m := range all {
		if m.asking {
			questions, whose = append(questions, ask(asking)), append(whose, -1)
		}
		questions, whose = append(questions, b.questions[m.question]), append(whose, i)
	}
	settled := 0
	c, err := b.conn.nodes.conn(ctx, node)
	if err == nil {
		err = c.Do(ctx, questions, func(i int, answer collect.Answer, err error) {
			if whose[i] >= 0 {
				settled = whose[i] + 1
				b.settle(all[whose[i]], answered(answer), err)
			}
		})
	}
	if err != nil {
		b.conn.nodes.drop(node)
	}
	for _, m := range all[settled:] {
		delete(b.conn.nodes.homes, b.questions[m.question].Text)
		b.settle(m, nil, fault.Wrap(b.conn.driver.Classify(err), "asking another node", err))
	}
}

// asking is what a node that a key is moving to wants to hear before each question.
const asking = "ASKING"

// settle takes another node's answer, which may send us further.
func (b *batch) settle(m moved, r *reply, err error) {
	if next, sent := b.conn.nodes.moved(m.question, b.questions[m.question], err); sent {
		b.elsewhere = append(b.elsewhere, next)
		return
	}
	to := &b.outcomes[m.question]
	to.known, to.err = true, err
	if err == nil {
		to.tree = r.tree
	}
}

// conn gives the connection to a node.
func (n *nodes) conn(ctx context.Context, node string) (*conn, error) {
	n.mu.Lock()
	known, count := n.conns[node], len(n.conns)
	n.mu.Unlock()
	switch {
	case known != nil:
		return known, nil
	case count >= maxNodes:
		return nil, fault.New(fault.Limited, "the cluster has nodes without end")
	}
	opened, err := n.driver.open(ctx, node)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.aborted.Load() {
		opened.Close()
		return nil, context.Canceled
	}
	if n.conns == nil {
		n.conns = map[string]*conn{}
	}
	n.conns[node] = opened
	return opened, nil
}

// drop closes the connection to a node.
func (n *nodes) drop(node string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if c := n.conns[node]; c != nil {
		n.cost = plus(n.cost, c.Usage())
		c.Close()
		delete(n.conns, node)
	}
}

// close closes the connections to all nodes.
func (n *nodes) close() {
	n.aborted.Store(true)
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		c.Close()
	}
}

// usage is what the connections to other nodes cost.
func (n *nodes) usage() collect.Usage {
	n.mu.Lock()
	defer n.mu.Unlock()
	sum := n.cost
	for _, c := range n.conns {
		sum = plus(sum, c.Usage())
	}
	return sum
}

func plus(x, y collect.Usage) collect.Usage {
	return collect.Usage{TurnArounds: x.TurnArounds + y.TurnArounds, Received: x.Received + y.Received, Sent: x.Sent + y.Sent}
}
