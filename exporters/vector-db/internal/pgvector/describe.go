package pgvector

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/alfred-agent-platform/backend-exporters/common/fault"
	"github.com/alfred-agent-platform/backend-exporters/exporters/vector-db/internal/backend"
)

// extension tells where pgvector is, which version, and since when the server runs.
const extension = `SELECT quote_ident(n.nspname), e.extversion, extract(epoch FROM pg_postmaster_start_time())
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'`

// tables are those that have a column of vectors. A partition is part of its table.
const tables = `SELECT c.oid, c.relkind, n.nspname, c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS name
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' AND EXISTS (SELECT FROM (` + columns + `) v WHERE v.table = c.oid)`

// columns are those of vectors.
const columns = `SELECT a.attrelid AS table, a.attnum, a.attname, a.attnotnull, a.atttypmod, t.typname
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_extension e ON e.extname = 'vector' AND t.typnamespace = e.extnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND t.typname IN ('vector', 'halfvec', 'sparsevec')`

// indexes are those for the nearest vectors, with the column that each is of. What an index holds may be of another
// type than the column: an expression makes halves or bits of it.
const indexes = `SELECT i.indrelid AS table, v.attnum, v.attname, m.amname, o.opcname, t.typname, x.reloptions, i.indexrelid,
	i.indisvalid AND i.indisready AS valid, i.indpred IS NOT NULL AS partial
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam AND m.amname IN ('hnsw', 'ivfflat')
JOIN pg_opclass o ON o.oid = i.indclass[0]
JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum = 1 JOIN pg_type t ON t.oid = a.atttypid
JOIN LATERAL (SELECT v.* FROM (` + columns + `) v JOIN pg_depend d ON d.refobjid = v.table AND d.refobjsubid = v.attnum
	WHERE v.table = i.indrelid AND d.objid = i.indexrelid AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
	ORDER BY v.attnum LIMIT 1) v ON true`

// leaves are the tables that hold the rows of the chosen ones.
const leaves = `SELECT c.oid AS root, c.oid AS leaf FROM chosen c WHERE c.relkind <> 'p'
UNION ALL SELECT c.oid, p.relid FROM chosen c, pg_partition_tree(c.oid) p WHERE c.relkind = 'p' AND p.isleaf`

// chosen begins a question about the tables of these names.
func chosen(names []string) string {
	return "WITH chosen AS (SELECT * FROM (" + tables + ") t WHERE t.name = ANY (" + array(names) + ")), leaves AS (" + leaves + ")\n"
}

// Identify tells of pgvector, which has versions of its own.
func (s *session) Identify(ctx context.Context) (backend.Server, error) {
	_, server, err := s.extension(ctx)
	return server, err
}

func (s *session) extension(ctx context.Context) (schema string, server backend.Server, err error) {
	answers, err := s.read(ctx, extension)
	if err != nil {
		return "", server, err
	}
	return found(answers[0])
}

// found reads the answer to where the extension is.
func found(answer *pgconn.Result) (schema string, server backend.Server, err error) {
	if len(answer.Rows) != 1 {
		return "", server, fault.Wrap(fault.Config, "looking for pgvector", errNoExtension)
	}
	row := answer.Rows[0]
	return string(row[0]), backend.Server{Version: string(row[1]), Started: number(row[2])}, nil
}

// List names the tables.
func (s *session) List(ctx context.Context) ([]string, error) {
	answers, err := s.read(ctx, extension, "SELECT t.name FROM ("+tables+") t")
	if err != nil {
		return nil, err
	}
	if _, _, err := found(answers[0]); err != nil {
		return nil, err
	}
	var names []string
	for _, row := range answers[1].Rows {
		names = append(names, string(row[0]))
	}
	return names, nil
}

// Cluster tells the server's role where it has a replica or is one. The replicas themselves are for an exporter of
// PostgreSQL to tell.
func (s *session) Cluster(ctx context.Context) (*backend.Cluster, error) {
	answers, err := s.read(ctx, `SELECT CASE WHEN pg_is_in_recovery() THEN 'follower' WHEN EXISTS (SELECT FROM pg_stat_replication) THEN 'leader' ELSE '' END`)
	if err != nil {
		return nil, err
	}
	role := string(first(answers[0])[0])
	return &backend.Cluster{Enabled: role != "", Role: role}, nil
}

// Describe asks of all tables at once. Counts of rows are the planner's, which ANALYZE makes.
func (s *session) Describe(ctx context.Context, names []string) ([]backend.Collection, error) {
	schema, _, err := s.extension(ctx)
	if err != nil {
		return nil, err
	}
	with := chosen(names)
	answers, err := s.read(ctx,
		with+`SELECT c.name, c.relkind, count(*), CASE WHEN min(l.reltuples) >= 0 THEN sum(l.reltuples) END, sum(pg_stat_get_dead_tuples(l.oid)),
	CASE WHEN pg_has_role('pg_read_all_stats', 'USAGE') THEN
		(SELECT count(*) FROM pg_stat_progress_create_index p JOIN leaves b ON b.leaf = p.relid WHERE b.root = c.oid) END
FROM chosen c JOIN leaves ON root = c.oid JOIN pg_class l ON l.oid = leaf GROUP BY c.oid, c.name, c.relkind`,
		with+`SELECT c.name, v.attname, v.typname, nullif(v.atttypmod, -1), CASE WHEN v.attnotnull THEN 0 ELSE
	(SELECT s.null_frac FROM pg_stats s WHERE s.schemaname = c.nspname AND s.tablename = c.relname AND s.attname = v.attname
		AND s.inherited = (c.relkind = 'p')) END
FROM chosen c JOIN (`+columns+`) v ON v.table = c.oid ORDER BY v.attnum`,
		with+`SELECT c.name, i.attname, i.amname, i.opcname, i.typname, array_to_string(i.reloptions, ','), i.valid, i.partial
FROM chosen c JOIN (`+indexes+`) i ON i.table = c.oid ORDER BY i.valid DESC, i.amname, i.indexrelid`,
		// The settings are there once the library is loaded, which using it does.
		"SELECT '[1]'::"+schema+".vector",
		`SELECT current_setting('hnsw.ef_search', true), current_setting('ivfflat.probes', true)`,
	)
	if err != nil {
		return nil, err
	}
	return described(answers), nil
}

// Storage tells what tables take on disk.
func (s *session) Storage(ctx context.Context, names []string) ([]backend.Storage, error) {
	answers, err := s.read(ctx, chosen(names)+`SELECT c.name, sum(pg_total_relation_size(l.leaf)),
	(SELECT sum(pg_relation_size(i.indexrelid)) FROM (`+indexes+`) i JOIN leaves b ON b.leaf = i.table WHERE b.root = c.oid)
FROM chosen c JOIN leaves l ON l.root = c.oid GROUP BY c.oid, c.name`)
	if err != nil {
		return nil, err
	}
	var all []backend.Storage
	for _, row := range answers[0].Rows {
		all = append(all, backend.Storage{Name: string(row[0]), Disk: number(row[1]), IndexBytes: number(row[2])})
	}
	return all, nil
}

// number reads a value; NULL and what is no number are absent.
func number(text []byte) *float64 {
	value, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return nil
	}
	return &value
}

// facts are what is known of a table, with the counts of each of its columns.
type facts struct {
	backend.Collection
	vectors, indexed []*float64 // by column, as Spaces
}

// described puts together what was told of tables, their columns, their indexes and the session.
func described(answers []*pgconn.Result) []backend.Collection {
	var all []*facts
	byName := map[string]*facts{}
	for _, row := range answers[0].Rows {
		one := &facts{Collection: table(row)}
		all, byName[one.Name] = append(all, one), one
	}
	for _, row := range answers[1].Rows {
		if one := byName[string(row[0])]; one != nil {
			one.addColumn(row)
		}
	}
	for _, row := range answers[2].Rows {
		if one := byName[string(row[0])]; one != nil {
			one.addIndex(row, first(answers[4]))
		}
	}
	collections := make([]backend.Collection, len(all))
	for i, one := range all {
		one.Vectors, one.Indexed = sum(one.vectors), sum(one.indexed)
		collections[i] = one.Collection
	}
	return collections
}

func table(row [][]byte) backend.Collection {
	c := backend.Collection{
		Name: string(row[0]), Status: backend.OK,
		Objects: number(row[3]), Deleted: number(row[4]), Optimizations: number(row[5]),
	}
	if string(row[1]) == "p" {
		c.Shards = number(row[2])
	}
	if c.Optimizations != nil && *c.Optimizations > 0 {
		c.Status = backend.Optimizing
	}
	return c
}

// datatypes are the elements of the types.
var datatypes = map[string]string{"vector": "float32", "halfvec": "float16", "sparsevec": "float32"}

// addColumn takes note of a column, which has nothing in an index as long as there is none.
func (f *facts) addColumn(row [][]byte) {
	f.Spaces = append(f.Spaces, backend.Space{
		Vector: string(row[1]), Dimensions: number(row[3]), Datatype: datatypes[string(row[2])],
		Index: "none", Quantized: "none",
	})
	var vectors *float64
	if null := number(row[4]); null != nil && f.Objects != nil {
		vectors = backend.Some(*f.Objects * (1 - *null))
	}
	f.vectors, f.indexed = append(f.vectors, vectors), append(f.indexed, backend.Some(0))
}

// addIndex takes note of an index. The first of a column counts: they come valid ones first.
func (f *facts) addIndex(row, settings [][]byte) {
	valid, partial := string(row[6]) == "t", string(row[7]) == "t"
	if !valid && f.Status == backend.OK {
		f.Status = backend.Degraded // nobody builds it
	}
	i := slices.IndexFunc(f.Spaces, func(s backend.Space) bool { return s.Vector == string(row[1]) })
	if i < 0 || f.Spaces[i].Index != "none" {
		return
	}
	space := &f.Spaces[i]
	space.Index, space.Distance = string(row[2]), distance(string(row[3]))
	switch kept := string(row[4]); {
	case kept == "bit":
		space.Quantized = "binary"
	case datatypes[kept] != space.Datatype:
		space.Quantized = kept
	}
	switch {
	case partial:
		f.indexed[i] = nil // nobody knows how many
	case valid:
		f.indexed[i] = f.vectors[i]
	}
	space.Parameters = parameters(string(row[5]))
	setting := map[string]int{"hnsw": 0, "ivfflat": 1}[space.Index]
	if value := number(settings[setting]); value != nil {
		space.Parameters[[]string{"ef_search", "probes"}[setting]] = *value
	}
}

// parameters reads the options of an index. One that is not set has a value that the server does not tell.
func parameters(options string) map[string]float64 {
	all := map[string]float64{}
	for option := range strings.SplitSeq(options, ",") {
		name, text, _ := strings.Cut(option, "=")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			all[strings.Replace(name, "ef_construction", "ef_construct", 1)] = value
		}
	}
	return all
}

// distances by what comes last in the names of classes of operators, such as halfvec_cosine_ops. Inner product is
// told as its negative.
var distances = map[string]backend.Distance{"l2": backend.Euclidean, "cosine": backend.Cosine, "ip": backend.Dot, "l1": backend.Manhattan}

func distance(class string) backend.Distance {
	parts := strings.Split(class, "_")
	word := parts[max(0, len(parts)-2)]
	if known, ok := distances[word]; ok {
		return known
	}
	return backend.Distance(word)
}

// sum adds up what is told of each column, and is absent where one is not told.
func sum(counts []*float64) *float64 {
	var total float64
	for _, count := range counts {
		if count == nil {
			return nil
		}
		total += *count
	}
	return &total
}
