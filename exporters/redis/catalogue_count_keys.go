package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/common/metric"
)

func itoa(n int) string { return strconv.Itoa(n) }

// countKeys counts the keys that match patterns. A count that does not end within the time of a run goes on in the next
// one; until then the last whole count is shown, and none before the first.
func countKeys(k keyChecks) *collect.Collector {
	count := gauge("keys_count", "Keys that match the pattern.", "db", "key")
	states := make([]keyCount, len(k.counts))
	return &collect.Collector{
		Name: "count_keys", Help: "SCAN, in the background, for the patterns of --count-keys.",
		Families: []*metric.Family{count}, Class: collect.Slow, Every: scanEvery, Needs: k.needs(),
		Run: func(ctx context.Context, conn collect.Conn, out *metric.Batch) error {
			until := time.Now().Add(scanTime)
			for i := range k.counts {
				if err := states[i].goOn(ctx, conn, k.counts[i], k.batch, until); err != nil {
					return err
				}
			}
			for i, pattern := range k.counts {
				if states[i].whole {
					out.Add(count, states[i].last, pattern.label(), pattern.name)
				}
			}
			return nil
		},
	}
}

// keyCount is a count under way.
type keyCount struct {
	left   []string // nodes that are still to be counted at, the present one first; none between counts
	cursor string
	sum    float64
	last   float64
	whole  bool // there is a last one
}

// goOn counts on until the end or until the time is up. A count that fails begins anew.
func (c *keyCount) goOn(ctx context.Context, conn collect.Conn, pattern keyRef, batch int, until time.Time) (err error) {
	if len(c.left) == 0 {
		c.cursor, c.sum = "0", 0
		if c.left, err = primaries(ctx, conn); err != nil {
			return err
		}
	}
	for len(c.left) > 0 && time.Now().Before(until) {
		if err := c.step(ctx, conn, pattern, batch); err != nil {
			*c = keyCount{}
			return err
		}
	}
	if len(c.left) == 0 {
		c.last, c.whole = c.sum, true
	}
	return nil
}

// step counts the keys of one SCAN.
func (c *keyCount) step(ctx context.Context, conn collect.Conn, pattern keyRef, batch int) error {
	node, err := at(ctx, conn, c.left[0])
	if err != nil {
		return err
	}
	var names []string
	c.cursor, names, err = scan(ctx, node, pattern, c.cursor, batch)
	c.sum += float64(len(names))
	if c.cursor == "0" {
		c.left = c.left[1:]
	}
	return err
}

// groupScript looks at some keys and adds up count and memory of each group: what the captures of the first Lua pattern
// that matches give, put together. ARGV holds the cursor, the number of keys, and the patterns.
const groupScript = `
local found = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2])
local counts, sizes, order, answer = {}, {}, {}, {}
for _, key in ipairs(found[2]) do
  local group = 'unclassified'
  for i = 3, #ARGV do
    local match = {string.find(key, ARGV[i])}
    if match[1] then
      group = table.concat(match, '', 3)
      break
    end
  end
  if not counts[group] then
    counts[group], sizes[group] = 0, 0
    order[#order + 1] = group
  end
  local size = redis.pcall('MEMORY', 'USAGE', key)
  counts[group] = counts[group] + 1
  if type(size) == 'number' then sizes[group] = sizes[group] + size end
end
for i, group in ipairs(order) do answer[i] = {group, counts[group], sizes[group]} end
return {found[1], answer}`

// groupFamilies declare what is shown of groups of keys.
type groupFamilies struct{ count, memory, distinct, took *metric.Family }

// keyGroups adds up the keys of all databases by groups. Like counts, a pass that does not end goes on in the next run.
func keyGroups(k keyChecks) *collect.Collector {
	f := groupFamilies{
		count:    gauge("key_group_count", "Keys of the group.", "db", "key_group"),
		memory:   gauge("key_group_memory_usage_bytes", "Memory of the keys of the group.", "db", "key_group"),
		distinct: gauge("number_of_distinct_key_groups", "Groups in the database.", "db"),
		took:     gauge("last_key_groups_scrape_duration_milliseconds", "Time that the last whole pass over the keys took, in milliseconds."),
	}
	f.took.Unit = "milliseconds"
	pass := &groupPass{checks: k, families: f}
	return &collect.Collector{
		Name: "key_groups", Help: "EVAL with SCAN and MEMORY USAGE, in the background: keys and memory by the groups of --check-key-groups.",
		Families: []*metric.Family{f.count, f.memory, f.distinct, f.took}, Class: collect.Slow, Every: scanEvery, Needs: k.needs(),
		Run: pass.run,
	}
}

// groupPass is a pass over all databases.
type groupPass struct {
	checks   keyChecks
	families groupFamilies

	left    []keyPlace // that are still to be looked at, the present one first; nil between passes
	cursor  string
	present map[int]map[string]amounts
	last    map[int]map[string]amounts // of the last whole pass
	spent   time.Duration
	took    time.Duration
}

// keyPlace is a database of a node.
type keyPlace struct {
	node string
	db   int
}

// maxGroupsSeen is how many groups are told apart at all.
const maxGroupsSeen = 100_000

func (p *groupPass) run(ctx context.Context, conn collect.Conn, out *metric.Batch) error {
	if len(p.checks.groups) == 0 {
		return nil
	}
	began := time.Now()
	err := p.goOn(ctx, conn, began.Add(scanTime))
	p.spent += time.Since(began)
	if err != nil {
		p.left = nil
		return err
	}
	if len(p.left) == 0 {
		p.last, p.took, p.left, p.spent = p.present, p.spent, nil, 0
	}
	if p.last != nil {
		p.put(out)
	}
	return nil
}

// goOn looks at keys until all are seen or until the time is up.
func (p *groupPass) goOn(ctx context.Context, conn collect.Conn, until time.Time) error {
	if p.left == nil {
		if err := p.begin(ctx, conn); err != nil {
			return err
		}
	}
	for len(p.left) > 0 && time.Now().Before(until) {
		place := p.left[0]
		node, err := at(ctx, conn, place.node)
		if err != nil {
			return err
		}
		args := append([]string{"EVAL", groupScript, "0", p.cursor, itoa(p.checks.batch)}, p.checks.groups...)
		r, err := askOne(ctx, node, keyRef{db: place.db}.put(node.Identity(), args...))
		if err != nil {
			return err
		}
		parts := r.Items()
		if len(parts) < 2 || parts[0].Text() == "" {
			return fault.New(fault.Malformed, "an answer to SCAN without keys")
		}
		p.add(place.db, parts[1].Items())
		if p.cursor = parts[0].Text(); p.cursor == "0" {
			p.left = p.left[1:]
		}
	}
	return nil
}

// begin asks which databases have keys, and where that is known how many there are in all.
func (p *groupPass) begin(ctx context.Context, conn collect.Conn) error {
	p.cursor, p.present, p.left, p.spent = "0", map[int]map[string]amounts{}, []keyPlace{}, 0
	nodes, err := primaries(ctx, conn)
	for _, node := range nodes {
		if err == nil {
			err = p.enter(ctx, conn, node)
		}
	}
	if err != nil || has(conn.Identity(), cluster) {
		return err
	}
	r, err := askOne(ctx, conn, ask("CONFIG", "GET", "databases"))
	if errors.As(err, new(refusal)) {
		return nil
	}
	n, _ := r.Get("databases").Number()
	for number := range int(min(n, maxPadded)) {
		if p.present[number] == nil {
			p.present[number] = map[string]amounts{}
		}
	}
	return err
}

// enter notes which databases of a node have keys.
func (p *groupPass) enter(ctx context.Context, conn collect.Conn, node string) error {
	conn, err := at(ctx, conn, node)
	if err != nil {
		return err
	}
	r, err := askOne(ctx, conn, ask(infoAll...))
	if err != nil {
		return err
	}
	for _, line := range r.Info().Section("keyspace") {
		if number, err := strconv.Atoi(strings.TrimPrefix(line.field, "db")); err == nil {
			p.left = append(p.left, keyPlace{node, number})
			p.present[number] = map[string]amounts{}
		}
	}
	return nil
}

func (p *groupPass) add(db int, groups []value) {
	for _, group := range groups {
		parts := group.Items()
		if len(parts) < 3 {
			continue
		}
		name := parts[0].Text()
		if _, known := p.present[db][name]; !known && len(p.present[db]) >= maxGroupsSeen {
			name = overflow
		}
		count, _ := parts[1].Number()
		size, _ := parts[2].Number()
		sum := p.present[db][name]
		sum.count, sum.sum = sum.count+count, sum.sum+size
		p.present[db][name] = sum
	}
}

// overflow is the group of all that are not shown by themselves.
const overflow = "overflow"

// put shows the groups with the most memory, and the others together.
func (p *groupPass) put(out *metric.Batch) {
	for db, groups := range p.last {
		label := keyRef{db: db}.label()
		names := make([]string, 0, len(groups))
		for name := range groups {
			names = append(names, name)
		}
		slices.SortFunc(names, func(x, y string) int {
			return cmp.Or(cmp.Compare(groups[y].sum, groups[x].sum), cmp.Compare(groups[y].count, groups[x].count), cmp.Compare(x, y))
		})
		var rest amounts
		for i, name := range names {
			if i < p.checks.maxGroups {
				out.Add(p.families.count, groups[name].count, label, name)
				out.Add(p.families.memory, groups[name].sum, label, name)
			} else {
				rest.count, rest.sum = rest.count+groups[name].count, rest.sum+groups[name].sum
			}
		}
		if len(names) > p.checks.maxGroups {
			out.Add(p.families.count, rest.count, label, overflow)
			out.Add(p.families.memory, rest.sum, label, overflow)
		}
		out.Add(p.families.distinct, float64(len(names)), label)
	}
	out.Add(p.families.took, float64(p.took.Milliseconds()))
}
