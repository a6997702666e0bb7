package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alfred-agent-platform/backend-exporters/dashboards/board"
)

// What is committed is what the program writes.
func TestCommitted(t *testing.T) {
	found, err := filepath.Glob("*.json")
	if err != nil || len(found) != len(boards()) {
		t.Errorf("%d files for %d dashboards (%v): run make dashboards", len(found), len(boards()), err)
	}
	for name, b := range boards() {
		want, err := b.JSON()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name + ".json")
		if err != nil || string(got) != string(want) {
			t.Errorf("%s.json is not what the program writes (%v): run make dashboards", name, err)
		}
	}
}

// A panel says what a person would call it, what is normal and what it counts in; names are taken once.
func TestBoardsAreWhole(t *testing.T) {
	uids := map[string]bool{}
	for name, b := range boards() {
		if b.UID == "" || len(b.UID) > 40 || uids[b.UID] {
			t.Errorf("%s: UID %q is missing, too long or taken", name, b.UID)
		}
		uids[b.UID] = true
		if b.Title == "" || b.Description == "" || b.Tag == "" || b.Source == "" || len(b.Top) == 0 {
			t.Errorf("%s: title, description, tag, source or panels are missing", name)
		}
		titles := map[string]bool{}
		for _, p := range panels(b) {
			if p.Title == "" || titles[p.Title] {
				t.Errorf("%s: the title %q is missing or taken", name, p.Title)
			}
			titles[p.Title] = true
			checkPanel(t, name+": "+p.Title, p)
		}
	}
	for name, b := range boards() {
		for _, p := range panels(b) {
			if p.Link != "" && !uids[p.Link] {
				t.Errorf("%s: %s links to %q, which is no dashboard", name, p.Title, p.Link)
			}
		}
	}
}

func panels(b board.Board) []board.Panel {
	all := append([]board.Panel{}, b.Top...)
	for _, row := range b.Rows {
		all = append(all, row.Panels...)
	}
	return all
}

func checkPanel(t *testing.T, name string, p board.Panel) {
	t.Helper()
	if len(p.Description) < 30 || !strings.HasSuffix(p.Description, ".") {
		t.Errorf("%s: the description %q tells too little", name, p.Description)
	}
	if p.Unit == "" || len(p.Queries) == 0 {
		t.Errorf("%s: unit or queries are missing", name)
	}
	if (p.Kind == board.Stat || p.Kind == board.Timeline) && len(p.Steps) < 2 {
		t.Errorf("%s: its colour means nothing", name)
	}
	if (p.Kind == board.Table) != (len(p.Labels) > 0) {
		t.Errorf("%s: tables, and only they, have label columns", name)
	}
	for _, q := range p.Queries {
		if !strings.Contains(q.Expr, "{@") || q.Legend == "" {
			t.Errorf("%s: %q does not obey the variables, or has no name", name, q.Expr)
		}
		if strings.Contains(q.Expr, "rate(") && !strings.Contains(q.Expr, "[$__rate_interval]") {
			t.Errorf("%s: %q takes a rate over a fixed range", name, q.Expr)
		}
	}
}
