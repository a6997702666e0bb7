// Package docs holds the documentation to what the code does: links and names, examples, commands.
package docs

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// document is a Markdown file of the repository.
type document struct {
	path    string // from the root of the repository: docs/redis.md
	blocks  []block
	links   []link
	spans   []span
	anchors []string // of its headings, as GitHub makes them
}

// block is code between fences or indented.
type block struct {
	language string // what follows the fence, "" where it is indented
	line     int    // of its first line of code, from 1
	code     string // with its line ends, without indentation
}

// link is a link or an image.
type link struct {
	destination string
	line        int
	image       bool
}

// span is `code` within a paragraph or a table.
type span struct {
	text string
	line int
}

// root is the folder of the repository.
const root = "../.."

// documents reads all Markdown that git knows or would take, parsed once for all tests. It fails the test where it cannot.
func documents(t *testing.T) []*document {
	t.Helper()
	all, err := parsed()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// documentAt gives one of documents by its path.
func documentAt(t *testing.T, path string) *document {
	t.Helper()
	for _, d := range documents(t) {
		if d.path == path {
			return d
		}
	}
	t.Fatalf("there is no document %s", path)
	return nil
}

var parsed = sync.OnceValues(func() ([]*document, error) {
	files, err := repositoryFiles()
	if err != nil {
		return nil, err
	}
	var all []*document
	for _, path := range files {
		if filepath.Ext(path) != ".md" {
			continue
		}
		source, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return nil, err
		}
		all = append(all, parse(path, source))
	}
	return all, nil
})

// repositoryFiles lists the files that git knows and those that it would take, without what was deleted.
var repositoryFiles = sync.OnceValues(func() ([]string, error) {
	command := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	command.Dir = root
	out, err := command.Output()
	if err != nil {
		return nil, err
	}
	files := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	slices.Sort(files)
	files = slices.Compact(files)
	return slices.DeleteFunc(files, func(path string) bool {
		_, err := os.Lstat(filepath.Join(root, path))
		return err != nil
	}), nil
})

// parse finds what the tests need in one document.
func parse(path string, source []byte) *document {
	d := &document{path: path}
	seen := map[string]int{}
	tree := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(source))
	at := 0 // where the walk is: nodes within a line do not know
	_ = ast.Walk(tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		at = max(at, start(n))
		line := 1 + bytes.Count(source[:at], []byte("\n"))
		switch n := n.(type) {
		case *ast.Heading:
			d.anchors = append(d.anchors, anchor(plain(n, source), seen))
		case *ast.FencedCodeBlock:
			d.blocks = append(d.blocks, block{string(n.Language(source)), line, string(n.Lines().Value(source))})
		case *ast.CodeBlock:
			d.blocks = append(d.blocks, block{"", line, string(n.Lines().Value(source))})
		case *ast.CodeSpan:
			d.spans = append(d.spans, span{plain(n, source), line})
		case *ast.Link:
			d.links = append(d.links, link{string(n.Destination), line, false})
		case *ast.Image:
			d.links = append(d.links, link{string(n.Destination), line, true})
		case *ast.AutoLink:
			d.links = append(d.links, link{string(n.URL(source)), line, false})
		}
		return ast.WalkContinue, nil
	})
	return d
}

// start tells where in the source a node begins, 0 where it does not know.
func start(n ast.Node) int {
	if t, ok := n.(*ast.Text); ok {
		return t.Segment.Start
	}
	if n.Type() == ast.TypeBlock && n.Lines().Len() > 0 {
		return n.Lines().At(0).Start
	}
	if first, ok := n.FirstChild().(*ast.Text); ok {
		return first.Segment.Start
	}
	return 0
}

// plain is the text of a node without its markup.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	_ = ast.Walk(n, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Text:
			b.Write(n.Value(source))
			if n.SoftLineBreak() || n.HardLineBreak() {
				b.WriteByte(' ')
			}
		case *ast.String:
			b.Write(n.Value)
		}
		return ast.WalkContinue, nil
	})
	return b.String()
}

// anchor makes of a heading what GitHub makes of it: lower case, spaces to hyphens, without other signs; the second of
// a name gets -1. Seen counts the names of one document.
func anchor(heading string, seen map[string]int) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.Is(unicode.Mn, r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(heading))
	count := seen[name]
	seen[name]++
	if count > 0 {
		return anchor(heading+" "+string(rune('0'+count)), seen)
	}
	return name
}

func TestMarkdownIsRead(t *testing.T) {
	d := parse("a.md", []byte("# A `b` & *c*!\n\nText\nwith `a span` and [a link](x.md#y).\n\n```sh\necho 1\n\necho 2\n```\n\n"+
		"    indented\n\n# A b & c\n\n| a |\n| --- |\n| ![p](q.png) `in a table` |\n\n<https://example.com>\n"))
	if want := []block{{"sh", 7, "echo 1\n\necho 2\n"}, {"", 12, "indented\n"}}; !slices.Equal(d.blocks, want) {
		t.Errorf("blocks: %+v, want %+v", d.blocks, want)
	}
	if want := []link{{"x.md#y", 4, false}, {"q.png", 18, true}, {"https://example.com", 20, false}}; !slices.Equal(d.links, want) {
		t.Errorf("links: %+v, want %+v", d.links, want)
	}
	if want := []span{{"b", 1}, {"a span", 4}, {"in a table", 18}}; !slices.Equal(d.spans, want) {
		t.Errorf("spans: %+v, want %+v", d.spans, want)
	}
	if want := []string{"a-b--c", "a-b--c-1"}; !slices.Equal(d.anchors, want) {
		t.Errorf("anchors: %q, want %q", d.anchors, want)
	}
}
