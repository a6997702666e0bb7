package board

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/bargauge"
	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/statetimeline"
	"github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

// suiteTag is on every dashboard: the links between them go by it.
const suiteTag = "backend-exporters"

var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

// JSON gives the dashboard as Grafana imports it.
func (b Board) JSON() ([]byte, error) {
	built, err := b.builder().Build()
	if err != nil {
		return nil, fmt.Errorf("dashboard %s: %w", b.UID, err)
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	err = encoder.Encode(built)
	return out.Bytes(), err
}

// builder uses the form of dashboards that every Grafana imports. The one that the SDK prefers needs the newest.
func (b Board) builder() *dashboard.DashboardBuilder { //nolint:staticcheck // as above
	d := dashboard.NewDashboardBuilder(b.Title) //nolint:staticcheck // as above
	d.Uid(b.UID).Description(b.Description).Tags([]string{suiteTag, b.Tag}).
		Time("now-3h", "now").Refresh("1m").Timezone("browser").Tooltip(dashboard.DashboardCursorSyncCrosshair).
		Link(dashboard.NewDashboardLinkBuilder("Backends").Type(dashboard.DashboardLinkTypeDashboards).Tags([]string{suiteTag}).
			AsDropdown(true).IncludeVars(true).KeepTime(true)).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus").Current(option("default", "default"))).
		WithVariable(choice("job", "Job", "label_values("+b.Source+", job)")).
		WithVariable(choice("instance", "Instance", "label_values("+b.Source+`{job=~"$job"}, instance)`))
	for _, v := range b.Variables {
		d.WithVariable(choice(v.Name, v.Label, fmt.Sprintf("label_values(%s, %s)", chosen(v.Metric), v.Name)))
	}
	var l layout
	for _, p := range b.Top {
		d.WithPanel(l.place(p))
	}
	for _, r := range b.Rows {
		l.newLine()
		row := dashboard.NewRowBuilder(r.Title).Collapsed(true).Id(l.id()).GridPos(dashboard.GridPos{X: 0, Y: l.y, W: width, H: 1})
		l.y++
		inside := l
		for _, p := range r.Panels {
			row.WithPanel(inside.place(p))
		}
		l.last = inside.last
		d.WithRow(row)
	}
	return d
}

// chosen puts the selection of the variables where an expression leaves it open.
func chosen(expr string) string {
	return strings.ReplaceAll(expr, "{@", `{job=~"$job", instance=~"$instance"`)
}

func choice(name, label, query string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(source).
		Query(dashboard.StringOrMap{String: &query}).Multi(true).IncludeAll(true).AllValue(".+").
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc).Current(option("All", "$__all"))
}

func option(text, value string) dashboard.VariableOption {
	return dashboard.VariableOption{
		Text:  dashboard.StringOrArrayOfString{String: &text},
		Value: dashboard.StringOrArrayOfString{String: &value},
	}
}

// Grafana's grid, and the sizes of panels that say nothing of theirs.
const width = 24

var usual = map[Kind]dashboard.GridPos{
	Graph: {W: 12, H: 8}, Stack: {W: 12, H: 8}, Stat: {W: 4, H: 4}, Bars: {W: 12, H: 8}, Table: {W: 24, H: 8}, Timeline: {W: 24, H: 8},
}

// layout fills lines from left to right.
type layout struct {
	x, y, tall uint32
	last       uint32 // id given
}

func (l *layout) id() uint32 { l.last++; return l.last }

func (l *layout) newLine() { l.x, l.y, l.tall = 0, l.y+l.tall, 0 }

func (l *layout) place(p Panel) cog.Builder[dashboard.Panel] {
	at := usual[p.Kind]
	if p.Width > 0 {
		at.W = p.Width
	}
	if p.Height > 0 {
		at.H = p.Height
	}
	if l.x+at.W > width {
		l.newLine()
	}
	at.X, at.Y = l.x, l.y
	l.x, l.tall = l.x+at.W, max(l.tall, at.H)
	return placed{p, at, l.id()}
}

// placed is a panel with its place.
type placed struct {
	Panel
	at dashboard.GridPos
	id uint32
}

// Build makes the SDK's panel: the kind's own looks first, then what all have.
func (p placed) Build() (dashboard.Panel, error) {
	made, err := p.look().Build()
	if err != nil {
		return made, fmt.Errorf("panel %q: %w", p.Title, err)
	}
	made.Id, made.GridPos, made.Datasource = &p.id, &p.at, &source
	made.Title, made.Description = &p.Title, &p.Description
	if made.FieldConfig == nil {
		made.FieldConfig = dashboard.NewFieldConfigSource()
	}
	defaults := &made.FieldConfig.Defaults
	defaults.Unit = &p.Unit
	if p.Max > 0 {
		defaults.Max = &p.Max
	}
	if p.Decimals > 0 {
		defaults.Decimals = cog.ToPtr(float64(p.Decimals))
	}
	defaults.Thresholds = p.thresholds()
	defaults.Mappings = p.mappings()
	for i, q := range p.Queries {
		target, err := p.target(i, q).Build()
		if err != nil {
			return made, err
		}
		made.Targets = append(made.Targets, target)
	}
	if p.Link != "" {
		made.Links = []dashboard.DashboardLink{{
			Title: "Details", Type: dashboard.DashboardLinkTypeLink, TargetBlank: false,
			Url: cog.ToPtr("/d/" + p.Link + "?${datasource:queryparam}&${job:queryparam}&${instance:queryparam}&${__url_time_range}"),
		}}
	}
	return made, nil
}

func (p placed) look() cog.Builder[dashboard.Panel] {
	switch p.Kind {
	case Stat:
		return stat.NewPanelBuilder().ColorMode(common.BigValueColorModeBackground).GraphMode(common.BigValueGraphModeArea).
			ReduceOptions(last())
	case Bars:
		return bargauge.NewPanelBuilder().Orientation(common.VizOrientationHorizontal).Min(0).ReduceOptions(last())
	case Table:
		return p.table()
	case Timeline:
		return statetimeline.NewPanelBuilder().ShowValue(common.VisibilityModeNever).RowHeight(0.8).MergeValues(true).
			ColorScheme(dashboard.NewFieldColorBuilder().Mode(dashboard.FieldColorModeIdThresholds)).
			Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom))
	case Stack:
		return p.graph().FillOpacity(40).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal).Group("A"))
	default:
		return p.graph().FillOpacity(8)
	}
}

func last() *common.ReduceDataOptionsBuilder {
	return common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"})
}

// graph has a legend that can be sorted by what was highest, and a tooltip that shows all lines of an instant. Its
// steps are drawn as lines where there are any.
func (p placed) graph() *timeseries.PanelBuilder {
	style := common.GraphThresholdsStyleModeOff
	if len(p.Steps) > 1 {
		style = common.GraphThresholdsStyleModeDashed
	}
	return timeseries.NewPanelBuilder().Min(0).LineWidth(1).ShowPoints(common.VisibilityModeNever).
		ThresholdsStyle(common.NewGraphThresholdsStyleConfigBuilder().Mode(style)).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).DisplayMode(common.LegendDisplayModeTable).
			Placement(common.LegendPlacementBottom).Calcs([]string{"lastNotNull", "max"})).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
}

// table shows the chosen labels and a column for each query, and colours the first value.
func (p placed) table() cog.Builder[dashboard.Panel] {
	order, names := map[string]int{}, map[string]string{}
	for i, label := range p.Labels {
		order[label], names[label] = i, strings.ToUpper(label[:1])+strings.ReplaceAll(label[1:], "_", " ")
	}
	made := table.NewPanelBuilder().CellHeight(common.TableCellHeightSm)
	for i, q := range p.Queries {
		field := "Value"
		if len(p.Queries) > 1 {
			field += " #" + refID(i)
		}
		order[field], names[field] = len(p.Labels)+i, q.Legend
		unit := p.Unit
		if own := p.Units[q.Legend]; own != "" {
			unit = own
		}
		properties := []dashboard.DynamicConfigValue{{Id: "unit", Value: unit}}
		if i == 0 && len(p.Steps) > 1 {
			properties = append(properties, dashboard.DynamicConfigValue{Id: "custom.cellOptions", Value: map[string]any{"type": "color-text"}})
		}
		made.OverrideByName(q.Legend, properties)
	}
	keep := make([]string, 0, len(order))
	for field := range order {
		keep = append(keep, field)
	}
	slices.SortFunc(keep, func(x, y string) int { return order[x] - order[y] })
	return made.WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "filterFieldsByName", Options: map[string]any{"include": map[string]any{"names": keep}}}).
		WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{"indexByName": order, "renameByName": names}})
}

func (p placed) target(i int, q Query) *prometheus.DataqueryBuilder {
	target := prometheus.NewDataqueryBuilder().Datasource(source).Expr(chosen(q.Expr)).RefId(refID(i)).EditorMode(prometheus.QueryEditorModeCode)
	if p.Kind == Table {
		return target.Instant().Format(prometheus.PromQueryFormatTable)
	}
	return target.Range().LegendFormat(strings.ReplaceAll(q.Legend, "{{instance}}", "{{instance}} {{target}}"))
}

func refID(i int) string { return string(rune('A' + i)) }

func (p placed) thresholds() *dashboard.ThresholdsConfig {
	steps := p.Steps
	if len(steps) == 0 {
		steps = Plain()
	}
	config := &dashboard.ThresholdsConfig{Mode: dashboard.ThresholdsModeAbsolute}
	for i, step := range steps {
		one := dashboard.Threshold{Color: step.Color}
		if i > 0 {
			one.Value = cog.ToPtr(step.From)
		}
		config.Steps = append(config.Steps, one)
	}
	return config
}

func (p placed) mappings() []dashboard.ValueMapping {
	if len(p.States) == 0 {
		return nil
	}
	options := map[string]dashboard.ValueMappingResult{}
	for number, state := range p.States {
		options[strconv.Itoa(number)] = dashboard.ValueMappingResult{Text: cog.ToPtr(state.Text), Color: cog.ToPtr(state.Color)}
	}
	return []dashboard.ValueMapping{{ValueMap: &dashboard.ValueMap{Type: dashboard.MappingTypeValueToText, Options: options}}}
}
