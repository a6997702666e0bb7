package pgvector

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

const (
	pageSize   = 256         // points that are taken at once
	shapeLasts = time.Minute // how long what is known of a table is good
	fewPages   = 1024        // of a table that is sorted to take some of its rows at random
	candidates = 20          // places looked at for each row wanted of a larger one
)

// shape is what is known of a place: how to write its table, column and key, and how its index compares.
type shape struct {
	at       time.Time
	schema   string // of pgvector
	table    string
	column   string
	kind     string // type of the column
	id       string // an expression that names a row
	distance backend.Distance
	indexed  string // the expression that the index is of; "" where there is none that is valid
	cast     string // of a vector to what the index compares
}

// operators by distance; all give what is smaller for what is nearer.
var operators = map[backend.Distance]string{backend.Euclidean: "<->", backend.Cosine: "<=>", backend.Dot: "<#>", backend.Manhattan: "<+>"}

// shapeOf asks how a place is made. Rows are named by a primary key of one column, else by where they are.
func (s *session) shapeOf(ctx context.Context, in backend.Place) (shape, error) {
	s.mu.Lock()
	known, ok := s.shapes[in]
	s.mu.Unlock()
	if ok && time.Since(known.at) < shapeLasts {
		return known, nil
	}
	answers, err := s.read(ctx, extension,
		chosen([]string{in.Collection})+`SELECT quote_ident(v.attname), v.typname,
	(SELECT quote_ident(a.attname) FROM pg_index k JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.indkey[0]
		WHERE k.indrelid = c.oid AND k.indisprimary AND k.indnkeyatts = 1),
	i.opcname, i.typname, pg_get_indexdef(i.indexrelid, 1, false),
	(SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a WHERE a.attrelid = i.indexrelid AND a.attnum = 1)
FROM chosen c JOIN (`+columns+`) v ON v.table = c.oid
LEFT JOIN LATERAL (SELECT i.* FROM (`+indexes+`) i WHERE i.table = c.oid AND i.attnum = v.attnum AND i.valid AND NOT i.partial
	ORDER BY i.amname, i.indexrelid LIMIT 1) i ON true
WHERE `+literal(in.Vector)+` IN ('', v.attname) ORDER BY v.attnum`)
	if err != nil {
		return shape{}, err
	}
	schema, _, err := found(answers[0])
	if err != nil {
		return shape{}, err
	}
	switch rows := answers[1].Rows; {
	case len(rows) == 0:
		return shape{}, &fault.Error{Kind: fault.Config, Op: "looking for the table", Err: backend.ErrGone}
	case len(rows) > 1:
		return shape{}, fault.New(fault.Config, "the table has several columns of vectors, and none was named")
	default:
		known = newShape(schema, in.Collection, rows[0])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shapes[in] = known
	return known, nil
}

func newShape(schema, table string, row [][]byte) shape {
	known := shape{at: time.Now(), schema: schema, table: table, column: string(row[0]), kind: string(row[1]), id: string(row[2]) + "::text"}
	if row[2] == nil {
		known.id = "tableoid || ':' || ctid"
	}
	if row[3] != nil {
		known.distance, known.indexed, known.cast = distance(string(row[3])), string(row[5]), string(row[6])
	}
	return known
}

// forget makes the next question about a place ask how it is made.
func (s *session) forget(in backend.Place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.shapes, in)
}

// about asks something of a place whose shape it is given.
func (s *session) about(ctx context.Context, in backend.Place, statements func(shape) ([]string, error)) ([]*pgconn.Result, error) {
	known, err := s.shapeOf(ctx, in)
	if err != nil {
		return nil, err
	}
	all, err := statements(known)
	if err != nil {
		return nil, err
	}
	answers, err := s.read(ctx, all...)
	if err != nil {
		s.forget(in)
		return nil, gone(err)
	}
	return answers, nil
}

// gone tells of a table that is no longer there that it is gone.
func gone(err error) error {
	if state(err) == "42P01" {
		return &fault.Error{Kind: fault.Config, Op: "asking", Err: backend.ErrGone}
	}
	return err
}

// Count counts the rows that have a vector.
func (s *session) Count(ctx context.Context, in backend.Place) (int64, error) {
	answers, err := s.about(ctx, in, func(known shape) ([]string, error) {
		return []string{"SELECT count(" + known.column + ") FROM " + known.table}, nil
	})
	if err != nil {
		return 0, err
	}
	count, err := strconv.ParseInt(string(first(answers[0])[0]), 10, 64)
	return count, fault.Wrap(fault.Malformed, "counting", err)
}

// dense is the column as a type whose text holds each element.
func (known shape) dense() string { return known.column + "::" + known.schema + ".vector" }

// Sample sorts a small table at random. In a large one it looks at random places, each of which costs a page: what
// SQL has for samples reads all pages or takes neighbours.
func (s *session) Sample(ctx context.Context, in backend.Place, n int) ([]backend.Point, error) {
	size, err := s.about(ctx, in, func(shape) ([]string, error) {
		return []string{chosen([]string{in.Collection}) + `SELECT max(pg_relation_size(leaf) / current_setting('block_size')::int),
	max(CASE WHEN c.reltuples > 0 AND c.relpages > 0 THEN c.reltuples / c.relpages ELSE 100 END) FROM leaves JOIN pg_class c ON c.oid = leaf`}, nil
	})
	if err != nil {
		return nil, err
	}
	pages, density := number(first(size[0])[0]), number(first(size[0])[1])
	if pages == nil || density == nil {
		return nil, nil // a partitioned table without partitions
	}
	where := ""
	if *pages > fewPages {
		where = fmt.Sprintf(` AND ctid = ANY (ARRAY(SELECT format('(%%s,%%s)', trunc(random() * %.0f), 1 + trunc(random() * %.0f))::tid
	FROM generate_series(1, %d)))`, *pages, *density*1.1, n*candidates)
	}
	answers, err := s.about(ctx, in, func(known shape) ([]string, error) {
		return []string{fmt.Sprintf(`SELECT id, v FROM (SELECT %s AS id, %s AS v FROM %s WHERE %s IS NOT NULL%s ORDER BY random() LIMIT %d) sample`,
			known.id, known.dense(), known.table, known.column, where, n)}, nil
	})
	if err != nil {
		return nil, err
	}
	return points(answers[0])
}

// points reads rows of IDs and vectors.
func points(answer *pgconn.Result) ([]backend.Point, error) {
	all := make([]backend.Point, 0, len(answer.Rows))
	for _, row := range answer.Rows {
		vector, err := parse(string(row[1]))
		if err != nil {
			return nil, err
		}
		all = append(all, backend.Point{ID: string(row[0]), Vector: vector})
	}
	return all, nil
}

// parse reads [1,2.5,3].
func parse(text string) ([]float32, error) {
	inner, ok := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	if !ok || !closed {
		return nil, fault.New(fault.Malformed, "a vector cannot be read")
	}
	vector := make([]float32, 0, 1+strings.Count(inner, ","))
	for part := range strings.SplitSeq(inner, ",") {
		value, err := strconv.ParseFloat(part, 32)
		if err != nil {
			return nil, fault.New(fault.Malformed, "a vector cannot be read")
		}
		vector = append(vector, float32(value))
	}
	return vector, nil
}

// text writes a vector as parse reads it.
func text(vector []float32) string {
	b := []byte{'['}
	for i, value := range vector {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, float64(value), 'g', -1, 32)
	}
	return string(append(b, ']'))
}

// nearest asks for the k nearest by an expression, with their distances as the column itself tells them.
func (known shape) nearest(vector []float32, k int, ordered, cast string) (string, error) {
	operator := operators[known.distance]
	if operator == "" || known.cast == "bit" || strings.HasPrefix(known.cast, "bit(") {
		return "", fault.New(fault.Unsupported, "the table has no index that compares vectors in a way that is known")
	}
	asked := literal(text(vector)) + "::" + known.schema + ".vector"
	return fmt.Sprintf(`SELECT %s, %s OPERATOR(%s.%s) %s::%s.%s FROM %s WHERE %s IS NOT NULL ORDER BY %s OPERATOR(%s.%s) %s::%s LIMIT %d`,
		known.id, known.column, known.schema, operator, asked, known.schema, known.kind, known.table, known.column,
		ordered, known.schema, operator, asked, cast, k), nil
}

// byIndex is in a plan that asks an index for what is nearest.
const byIndex = "Order By:"

// Search asks with the settings that the account has, and tells by the plan whether an index answered.
func (s *session) Search(ctx context.Context, in backend.Place, vector []float32, k int) (backend.Found, error) {
	answers, err := s.about(ctx, in, func(known shape) ([]string, error) {
		question, err := known.nearest(vector, k, known.indexed, known.cast)
		return []string{"EXPLAIN (COSTS false) " + question, question}, err
	})
	if err != nil {
		return backend.Found{}, err
	}
	by := "scan"
	if planned(answers[0], byIndex) {
		by = "index"
	}
	found, err := hits(answers[1])
	return backend.Found{Hits: found, By: by}, err
}

// Exact orders the table without its index, which the plan must show.
func (s *session) Exact(ctx context.Context, in backend.Place, vector []float32, k int) ([]backend.Hit, error) {
	answers, err := s.about(ctx, in, func(known shape) ([]string, error) {
		question, err := known.nearest(vector, k, known.column, known.schema+"."+known.kind)
		return []string{"SET LOCAL enable_indexscan = off", "EXPLAIN (COSTS false) " + question, question}, err
	})
	if err != nil {
		return nil, err
	}
	if planned(answers[1], byIndex) {
		return nil, fault.New(fault.Unsupported, "the server does not search this table without its index")
	}
	return hits(answers[2])
}

// planned tells whether a plan has a line with the words.
func planned(plan *pgconn.Result, words string) bool {
	for _, row := range plan.Rows {
		if strings.HasPrefix(strings.TrimSpace(string(row[0])), words) {
			return true
		}
	}
	return false
}

func hits(answer *pgconn.Result) ([]backend.Hit, error) {
	all := make([]backend.Hit, 0, len(answer.Rows))
	for _, row := range answer.Rows {
		away, err := strconv.ParseFloat(string(row[1]), 64) // NaN, of a vector of zeros, is one
		if err != nil {
			return nil, fault.New(fault.Malformed, "a distance cannot be read")
		}
		all = append(all, backend.Hit{ID: string(row[0]), Distance: away})
	}
	return all, nil
}

// Scan goes through the table with a cursor.
func (s *session) Scan(ctx context.Context, in backend.Place, page func([]backend.Point) error) error {
	known, err := s.shapeOf(ctx, in)
	if err != nil {
		return err
	}
	return s.with(ctx, func(l *line) error {
		first := append(begin(ctx, "READ ONLY"), fmt.Sprintf("DECLARE all_points NO SCROLL CURSOR FOR SELECT %s, %s FROM %s WHERE %s IS NOT NULL",
			known.id, known.dense(), known.table, known.column))
		if _, err := l.exec(ctx, strings.Join(first, ";\n")); err != nil {
			return gone(err)
		}
		for {
			some, err := l.fetch(ctx)
			if err == nil && len(some) > 0 {
				err = page(some)
			}
			if err != nil {
				return err
			}
			if len(some) < pageSize {
				_, err = l.exec(ctx, "COMMIT")
				return err
			}
		}
	})
}

// fetch takes the next page from the cursor.
func (l *line) fetch(ctx context.Context) ([]backend.Point, error) {
	answers, err := l.exec(ctx, "FETCH "+strconv.Itoa(pageSize)+" FROM all_points")
	if err == nil && len(answers) != 1 {
		err = fault.New(fault.Malformed, "the server answers more or less than was asked")
	}
	if err != nil {
		return nil, err
	}
	return points(answers[0])
}

// Create makes a table with an index, and a comment that is the mark. A name without a dot is one of the schema public.
func (s *session) Create(ctx context.Context, name, mark string, dimensions int) (backend.Place, error) {
	schema, _, err := s.extension(ctx)
	if err != nil {
		return backend.Place{}, err
	}
	table := quoted(name)
	err = s.write(ctx,
		fmt.Sprintf("CREATE TABLE %s (id uuid PRIMARY KEY, embedding %s.vector(%d) NOT NULL)", table, schema, dimensions),
		fmt.Sprintf("COMMENT ON TABLE %s IS %s", table, literal(mark)),
		fmt.Sprintf("CREATE INDEX ON %s USING hnsw (embedding %s.vector_cosine_ops)", table, schema),
	)
	if code := state(err); code == "42P07" || code == "23505" { // it is there, or another is making it
		err = &fault.Error{Kind: fault.Config, Op: "creating", Err: backend.ErrExists}
	}
	if err != nil {
		return backend.Place{}, err
	}
	in, _, err := s.Marked(ctx, name, mark)
	return in, err
}

// quoted writes a name for SQL.
func quoted(name string) string {
	schema, table, ok := strings.Cut(name, ".")
	if !ok {
		schema, table = "public", name
	}
	quote := func(part string) string { return `"` + strings.ReplaceAll(part, `"`, `""`) + `"` }
	return quote(schema) + "." + quote(table)
}

// Marked reads the comment.
func (s *session) Marked(ctx context.Context, name, mark string) (backend.Place, bool, error) {
	answers, err := s.read(ctx, fmt.Sprintf(`SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), coalesce(obj_description(c.oid, 'pg_class') = %s, false)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)`, literal(mark), literal(quoted(name))))
	if err != nil {
		return backend.Place{}, false, err
	}
	if len(answers[0].Rows) == 0 {
		return backend.Place{}, false, &fault.Error{Kind: fault.Config, Op: "looking for the table", Err: backend.ErrGone}
	}
	row := first(answers[0])
	return backend.Place{Collection: string(row[0]), Vector: "embedding"}, string(row[1]) == "t", nil
}

// Write stores rows; those of a known ID are replaced.
func (s *session) Write(ctx context.Context, in backend.Place, points []backend.Point) error {
	known, err := s.shapeOf(ctx, in)
	if err != nil {
		return err
	}
	rows := make([]string, len(points))
	for i, p := range points {
		rows[i] = fmt.Sprintf("(%s, %s)", literal(p.ID), literal(text(p.Vector)))
	}
	return gone(s.write(ctx, fmt.Sprintf("INSERT INTO %s (id, %s) VALUES %s ON CONFLICT (id) DO UPDATE SET %[2]s = excluded.%[2]s",
		known.table, known.column, strings.Join(rows, ", "))))
}

// Read gets a row.
func (s *session) Read(ctx context.Context, in backend.Place, id string) (backend.Point, error) {
	answers, err := s.about(ctx, in, func(known shape) ([]string, error) {
		return []string{fmt.Sprintf("SELECT id, %s FROM %s WHERE id = %s", known.dense(), known.table, literal(id))}, nil
	})
	if err != nil {
		return backend.Point{}, err
	}
	some, err := points(answers[0])
	if err != nil {
		return backend.Point{}, err
	}
	if len(some) == 0 {
		return backend.Point{}, &fault.Error{Kind: fault.Config, Op: "reading", Err: backend.ErrGone}
	}
	return some[0], nil
}

// Delete removes rows.
func (s *session) Delete(ctx context.Context, in backend.Place, ids []string) error {
	known, err := s.shapeOf(ctx, in)
	if err != nil {
		return err
	}
	return gone(s.write(ctx, fmt.Sprintf("DELETE FROM %s WHERE id = ANY (%s::uuid[])", known.table, array(ids))))
}

// Drop removes a table.
func (s *session) Drop(ctx context.Context, name string) error {
	s.mu.Lock()
	clear(s.shapes)
	s.mu.Unlock()
	err := s.write(ctx, "DROP TABLE IF EXISTS "+quoted(name))
	if errors.Is(err, backend.ErrGone) {
		return nil
	}
	return err
}
