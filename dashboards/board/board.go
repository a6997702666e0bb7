// Package board is what the suite's Grafana dashboards have in common: a dashboard is written as data, and built with
// Grafana's foundation SDK.
//
// In expressions and queries of variables, @ within braces stands for the labels that the dashboard's variables choose:
// pg_up{@} is pg_up{job=~"$job", instance=~"$instance"}.
package board

// Board is a dashboard.
type Board struct {
	UID         string // stable: links and bookmarks hold it
	Title       string
	Description string
	Tag         string // of its kind, beside the suite's
	Source      string // the metric whose jobs and instances can be chosen
	Variables   []Variable
	Top         []Panel // what is seen first
	Rows        []Row   // collapsed
}

// Variable is a further choice. All values are chosen at first.
type Variable struct {
	Name, Label string
	Metric      string // that has the label Name, such as pg_database_size_bytes{@}
}

// Row is a group of panels that opens on a click.
type Row struct {
	Title  string
	Panels []Panel
}

// Kind is how a panel shows its data.
type Kind uint8

// The kinds of panels.
const (
	Graph    Kind = iota // lines over time
	Stack                // areas over time, one upon another
	Stat                 // the last value, large
	Bars                 // the last values, as bars
	Table                // the last values, a row for each set of labels
	Timeline             // states over time
)

// Panel shows the answers to queries. The description tells what is normal, and what to do where it is not.
type Panel struct {
	Title, Description string
	Kind               Kind
	Unit               string // of Grafana: s, bytes, percentunit, short, ops …
	Width, Height      uint32 // of 24 columns; in rows of some 30 pixels; 0 means what suits the kind
	Queries            []Query
	Steps              []Step            // colours from the lowest value up; Table: of the first value column
	States             map[int]State     // what numbers mean
	Labels             []string          // Table: the label columns, in their order
	Max                float64           // of the axis; 0 means as the data has it
	Decimals           int               // of numbers that are shown; 0 means as Grafana thinks
	Link               string            // UID of the dashboard that shows more of it
	Units              map[string]string // Table: the units of the value columns that differ from Unit, by title
}

// Query is an expression and what its series are called: {{label}} stands for a label's value. An exporter with several
// targets tells them apart by the label target, so that expressions keep it beside instance, and {{instance}} shows it.
// In a table the legend is the title of the value column.
type Query struct {
	Expr, Legend string
}

// Step is a colour from a value on. The first step's value means nothing: it is for all that is lower than the second.
type Step struct {
	From  float64
	Color string
}

// State is what a number means.
type State struct {
	Text, Color string
}

// Health is what service_health and the like say.
var Health = map[int]State{0: {"down", Red}, 1: {"up", Green}}

// The colours that mean something.
const (
	Green  = "green"
	Yellow = "yellow"
	Orange = "orange"
	Red    = "red"
	Blue   = "blue"
)

// Good is a panel's steps where low values are good.
func Good(warn, bad float64) []Step { return []Step{{0, Green}, {warn, Orange}, {bad, Red}} }

// Zero is a panel's steps where every value from 1 on is bad.
func Zero() []Step { return []Step{{0, Green}, {1, Red}} }

// Bad is a panel's steps where low values are bad.
func Bad(warn, good float64) []Step { return []Step{{0, Red}, {warn, Orange}, {good, Green}} }

// Up is the steps of what is 1 while it works.
func Up() []Step { return []Step{{0, Red}, {1, Green}} }

// Plain is a panel's steps where no value is better than another.
func Plain() []Step { return []Step{{0, Blue}} }
