// Package promcheck finds mistakes in PromQL that no parser sees: metrics and labels that nobody exposes, counters
// read as they are, rates of gauges, joins that cannot match, ranges that hold too few samples.
package promcheck

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// Metric is what is known of a family.
type Metric struct {
	Type   string // counter, gauge, histogram, unknown; empty where nobody says
	Labels []string
	Open   bool // it has labels that nobody lists
}

// Catalogue holds families by name. One whose name ends with * stands for all that begin so.
type Catalogue map[string]Metric

var row = regexp.MustCompile("^\\| `([a-zA-Z_:*][a-zA-Z0-9_:*]*)` \\| ([a-z]+) \\| ([^|]*) \\|")

// Read adds the families of a derived page of metrics, docs/metrics-*.md.
func (c Catalogue) Read(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	found := 0
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if match := row.FindStringSubmatch(lines.Text()); match != nil {
			labels := strings.FieldsFunc(match[3], func(r rune) bool { return strings.ContainsRune("`, ", r) })
			if before, twice := c[match[1]]; twice {
				labels = append(labels, before.Labels...)
			}
			c[match[1]] = Metric{Type: match[2], Labels: labels}
			found++
		}
	}
	if found == 0 && lines.Err() == nil {
		return fmt.Errorf("%s lists no metrics", path)
	}
	return lines.Err()
}

// everywhere are the labels that Prometheus gives to every series, and the one that an exporter gives where it has
// several targets; mail servers have the module beside it.
var everywhere = []string{"job", "instance", "target", "module"}

// Lookup finds the family of a series: a histogram's has three names more than its own.
func (c Catalogue) Lookup(name string) (Metric, bool) {
	if m, ok := c[name]; ok {
		return m, true
	}
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		base, has := strings.CutSuffix(name, suffix)
		if m, ok := c[base]; has && ok && m.Type == "histogram" {
			m.Type = "counter"
			if suffix == "_bucket" {
				m.Labels = append(slices.Clone(m.Labels), "le")
			}
			return m, true
		}
	}
	for open, m := range c {
		if prefix, is := strings.CutSuffix(open, "*"); is && strings.HasPrefix(name, prefix) {
			return m, true
		}
	}
	return Metric{}, false
}

// Options say what is allowed beyond the rules.
type Options struct {
	Interval time.Duration // of the scrapes; ranges must span four
	Raw      []string      // counters that may be read as they are
}

// Check gives the mistakes of an expression, in words.
func (c Catalogue) Check(text string, o Options) []string {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		return []string{err.Error()}
	}
	w := walk{catalogue: c, options: o}
	w.expr(expr, "")
	return w.mistakes
}

type walk struct {
	catalogue Catalogue
	options   Options
	mistakes  []string
}

func (w *walk) say(format string, args ...any) {
	w.mistakes = append(w.mistakes, fmt.Sprintf(format, args...))
}

// set is the labels that a part's series may have; nil means that nobody knows.
type set map[string]bool

func (s set) has(label string) bool { return s == nil || s[label] }

// Functions for counters, and those for which it does not matter.
var (
	forCounters = []string{"rate", "irate", "increase"}
	forGauges   = []string{"deriv", "delta", "idelta", "predict_linear"}
	forBoth     = []string{"resets", "changes", "present_over_time", "count_over_time", "absent", "absent_over_time", "timestamp", "last_over_time"}
)

// expr walks down and gives the labels of the result. The function is the nearest above.
func (w *walk) expr(e parser.Expr, function string) set {
	switch e := e.(type) {
	case *parser.VectorSelector:
		return w.selector(e, function, false)
	case *parser.MatrixSelector:
		if e.Range < 4*w.options.Interval {
			w.say("%s: the range is shorter than four scrapes", e)
		}
		return w.selector(e.VectorSelector.(*parser.VectorSelector), function, true)
	case *parser.SubqueryExpr:
		return w.expr(e.Expr, function)
	case *parser.ParenExpr:
		return w.expr(e.Expr, function)
	case *parser.StepInvariantExpr:
		return w.expr(e.Expr, function)
	case *parser.UnaryExpr:
		return w.expr(e.Expr, function)
	case *parser.Call:
		return w.call(e)
	case *parser.AggregateExpr:
		return w.aggregate(e, function)
	case *parser.BinaryExpr:
		return w.binary(e, function)
	}
	return set{}
}

func (w *walk) selector(v *parser.VectorSelector, function string, ranged bool) set {
	metric, known := w.catalogue.Lookup(v.Name)
	if !known {
		w.say("%s: nobody exposes it", v.Name)
		return nil
	}
	labels := set{}
	for _, label := range slices.Concat(metric.Labels, everywhere) {
		labels[label] = true
	}
	if metric.Open {
		labels = nil
	}
	for _, matcher := range v.LabelMatchers {
		if matcher.Name != "__name__" && !labels.has(matcher.Name) {
			w.say("%s: it has no label %s", v.Name, matcher.Name)
		}
	}
	w.checkType(v.Name, metric.Type, function, ranged)
	return labels
}

func (w *walk) checkType(name, kind, function string, ranged bool) {
	switch {
	case slices.Contains(forBoth, function), slices.Contains(w.options.Raw, name):
	case kind == "counter" && (!ranged || slices.Contains(forGauges, function)):
		w.say("%s: a counter is read as it is", name)
	case kind == "gauge" && slices.Contains(forCounters, function):
		w.say("%s: a %s of a gauge", name, function)
	}
}

func (w *walk) call(e *parser.Call) set {
	result := set{}
	for _, argument := range e.Args {
		function := e.Func.Name
		if argument.Type() == parser.ValueTypeVector && !slices.Contains(forBoth, function) {
			function = ""
		}
		if labels := w.expr(argument, function); argument.Type() != parser.ValueTypeScalar && argument.Type() != parser.ValueTypeString {
			result = labels
		}
	}
	if e.Func.Name == "label_replace" || e.Func.Name == "label_join" {
		return nil
	}
	if e.Func.Name == "histogram_quantile" {
		result = maps.Clone(result)
		delete(result, "le")
	}
	return result
}

func (w *walk) aggregate(e *parser.AggregateExpr, function string) set {
	labels := w.expr(e.Expr, counted(e.Op, function))
	for _, label := range e.Grouping {
		if !labels.has(label) {
			w.say("%s: what is grouped has no label %s", e, label)
		}
	}
	if e.Op == parser.TOPK || e.Op == parser.BOTTOMK || labels == nil {
		return labels
	}
	result := set{}
	for label := range labels {
		if slices.Contains(e.Grouping, label) != e.Without {
			result[label] = true
		}
	}
	return result
}

// counted tells that only the number of series counts, not their values.
func counted(op parser.ItemType, function string) string {
	if op == parser.COUNT || op == parser.GROUP {
		return "absent"
	}
	return function
}

func (w *walk) binary(e *parser.BinaryExpr, function string) set {
	left, right := w.expr(e.LHS, function), w.expr(e.RHS, function)
	if e.VectorMatching == nil || e.LHS.Type() == parser.ValueTypeScalar || e.RHS.Type() == parser.ValueTypeScalar {
		if e.LHS.Type() == parser.ValueTypeScalar {
			return right
		}
		return left
	}
	if e.Op == parser.LOR || left == nil || right == nil {
		return left
	}
	if e.VectorMatching.On {
		for _, label := range e.VectorMatching.MatchingLabels {
			if !left.has(label) || !right.has(label) {
				w.say("%s: the label %s of the join is not on both sides", e, label)
			}
		}
		return joined(e, left, right)
	}
	if !maps.Equal(without(left, e.VectorMatching.MatchingLabels), without(right, e.VectorMatching.MatchingLabels)) {
		w.say("%s: the sides have other labels, %s and %s, and cannot match", e, names(left), names(right))
	}
	return joined(e, left, right)
}

// joined is what labels a join leaves.
func joined(e *parser.BinaryExpr, left, right set) set {
	matching := e.VectorMatching
	switch {
	case e.Op.IsSetOperator() || matching.Card == parser.CardManyToOne || e.Op.IsComparisonOperator() && !e.ReturnBool:
		return with(left, matching.Include)
	case matching.Card == parser.CardOneToMany:
		return with(right, matching.Include)
	case matching.On:
		result := set{}
		for _, label := range matching.MatchingLabels {
			result[label] = true
		}
		return result
	}
	return without(left, matching.MatchingLabels)
}

func with(s set, labels []string) set {
	result := maps.Clone(s)
	for _, label := range labels {
		result[label] = true
	}
	return result
}

func without(s set, labels []string) set {
	result := maps.Clone(s)
	for _, label := range labels {
		delete(result, label)
	}
	return result
}

func names(s set) string {
	return "(" + strings.Join(slices.Sorted(maps.Keys(s)), ", ") + ")"
}
