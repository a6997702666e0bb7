package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// Examine prints the least rule of rights for what is switched on, where the account has more or less than it needs,
// and settings without which the server has nothing to tell.
func (b *backend) Examine(ctx context.Context, target collect.Spec) ([]app.Finding, error) {
	opened, err := target.Driver.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	c, ok := opened.(*conn)
	if !ok {
		return nil, fault.New(fault.Internal, "this is no connection of ours")
	}
	findings := missingSettings(ctx, c)
	missing, known, err := c.missingRights(ctx, target)
	if err != nil || !known {
		return findings, err
	}
	if len(missing) > 0 {
		findings = append(findings, app.Finding{
			Problem: "the account lacks the right to " + strings.Join(missing, ", "),
			Remedy:  leastRule(target.Collectors, c),
		})
	}
	return findings, nil
}

// missingSettings tells what the server does not measure.
func missingSettings(ctx context.Context, c *conn) []app.Finding {
	var findings []app.Finding
	for setting, f := range map[string]app.Finding{
		"latency-monitor-threshold": {Problem: "latency-monitor-threshold is 0: the server records no latency spikes", Remedy: "CONFIG SET latency-monitor-threshold 100"},
		"slowlog-log-slower-than":   {Problem: "slowlog-log-slower-than is below 0: the server keeps no slow log", Remedy: "CONFIG SET slowlog-log-slower-than 10000"},
	} {
		r, err := askOne(ctx, c, ask("CONFIG", "GET", setting))
		if err != nil {
			continue // it cannot be known
		}
		n, ok := r.Get(setting).Number()
		if ok && (n < 0 || n == 0 && strings.HasPrefix(setting, "latency")) {
			findings = append(findings, f)
		}
	}
	slices.SortFunc(findings, func(x, y app.Finding) int { return cmp.Compare(x.Problem, y.Problem) })
	return findings
}

// missingRights asks what a scrape asks and tells which commands were denied. Where none is, or none could be asked,
// there is nothing to know.
func (c *conn) missingRights(ctx context.Context, target collect.Spec) (missing []string, known bool, err error) {
	var questions []collect.Question
	for _, probe := range target.Driver.Probes() {
		if probe.Operation != collect.Write {
			questions = append(questions, probe.Question)
		}
	}
	for _, collector := range target.Collectors {
		questions = append(questions, firstQuestions(collector, c.id)...)
	}
	err = c.Do(ctx, questions, func(i int, _ collect.Answer, err error) {
		var ours refusal
		if !errors.As(err, &ours) || classifyRefusal(string(ours)) != fault.Denied {
			known = known || err == nil
			return
		}
		known = true
		args, _ := arguments(questions[i]) // which were read when they were sent
		if name := aclName(args); !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	})
	return missing, known, err
}

// firstQuestions are those that a collector asks first.
func firstQuestions(collector *collect.Collector, id collect.Identity) []collect.Question {
	switch needs := collector.Needs.Feature; {
	case needs != "" && !has(id, needs):
		return nil
	case collector.Ask != nil:
		return collector.Ask(id)
	case collector.Talk != nil:
		return collector.Talk(id).Ask()
	}
	return nil
}

// leastRule is the command that gives an account the least rights for what is switched on.
func leastRule(collectors collect.Catalogue, c *conn) string {
	rights := leastRights(collectors, c)
	keys := ""
	for _, collector := range collectors {
		if slices.Contains(readsKeys(), collector.Name) {
			keys = " ~*"
		}
	}
	return "ACL SETUSER monitor on '>PASSWORD' -@all" + keys + " " + strings.Join(rights, " ") + "   (a user of its own; put your password for PASSWORD)"
}

// readsKeys lists the collectors that touch keys.
func readsKeys() []string {
	return []string{"check_keys", "check_key_patterns", "check_streams", "check_stream_patterns", "count_keys", "key_groups", "key_sample", "stream_pending"}
}

// leastRights lists what the health check and the collectors ask of a server, as rules. A command that the server said
// not to have cannot stand in one.
func leastRights(collectors collect.Catalogue, c *conn) []string {
	rights := map[string]bool{"+ping": true, "+info": true, "+hello": true, "+client|setname": true}
	if !has(c.id, sentinel) {
		rights["+dbsize"] = true
	}
	for _, collector := range collectors {
		questions := firstQuestions(collector, c.id)
		for _, question := range questions {
			if args, err := arguments(question); err == nil && c.lacks(args) == nil {
				rights["+"+aclName(args)] = true
			}
		}
		if len(questions) == 0 && collector.Run == nil {
			continue
		}
		for _, more := range laterRights(collector.Name) {
			rights["+"+more] = true
		}
		if c.nodes.follow && has(c.id, cluster) && slices.Contains(readsKeys(), collector.Name) {
			rights["+cluster|slots"] = true // which says where else to look
		}
	}
	var all []string
	for right := range rights {
		all = append(all, right)
	}
	slices.Sort(all)
	return all
}

// laterRights are the commands that a collector asks once it has seen its first answers.
func laterRights(collector string) []string {
	switch collector {
	case "check_keys":
		return []string{"select", "memory|usage", "strlen", "getrange", "pfcount", "llen", "scard", "zcard", "hlen", "xlen"}
	case "check_key_patterns":
		return append([]string{"scan", "type"}, laterRights("check_keys")...)
	case "check_streams":
		return []string{"select", "xinfo|consumers"}
	case "check_stream_patterns":
		return []string{"select", "scan", "xinfo|stream", "xinfo|groups", "xinfo|consumers"}
	case "stream_pending":
		return []string{"select"}
	case "count_keys":
		return []string{"select", "scan"}
	case "key_groups":
		return []string{"select", "eval", "scan", "memory|usage"}
	case "key_sample":
		return []string{"select", "scan", "type", "pttl", "memory|usage", "object|idletime", "object|freq", "readonly"}
	case "search_indexes":
		return []string{"ft._list", "ft.info"}
	case "sentinel_masters":
		return []string{"sentinel|ckquorum", "sentinel|sentinels", "sentinel|slaves"}
	}
	return nil
}

// aclName is a command as rules name it: small, with its subcommand where it has some.
func aclName(args []string) string {
	name := strings.ToLower(args[0])
	switch name {
	case "acl", "client", "cluster", "command", "commandlog", "config", "function", "latency", "memory", "module", "object", "script", "sentinel", "slowlog", "xinfo":
		if len(args) > 1 {
			return name + "|" + strings.ToLower(args[1])
		}
	}
	return name
}
