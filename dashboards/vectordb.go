package main

import "github.com/alfred-agent-platform/backend-exporters/dashboards/board"

var vectorOverview = board.Board{
	UID: "backend-exporters-vectordb", Title: "Vector databases", Tag: "vectordb", Source: "vectordb_up",
	Description: "Whether vector databases work from end to end, what they hold, and how good their answers are: the same for Qdrant, Weaviate, Milvus, Chroma, pgvector and Redis.",
	Variables:   []board.Variable{{Name: "collection", Label: "Collection", Metric: "vectordb_collection_objects{@}"}},
	Top: []board.Panel{
		{
			Title: "Servers down", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Servers that do not answer a read with our key. Normal: 0. vectordb_auth_ok tells a refused key from a dead server.",
			Queries:     []board.Query{{Expr: `count(vectordb_up{@} == 0) or vector(0)`, Legend: "down"}},
		},
		{
			Title: "Not ready", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Servers that say of themselves that they cannot serve yet. Normal: 0, but for minutes after a start.",
			Queries:     []board.Query{{Expr: `count(vectordb_ready{@} == 0) or vector(0)`, Legend: "not ready"}},
		},
		{
			Title: "Collections in trouble", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Collections whose status is an error. Normal: 0. Their searches or writes fail.",
			Queries:     []board.Query{{Expr: `count(vectordb_collection_status{@, collection=~"$collection", status="error"} == 1) or vector(0)`, Legend: "error"}},
		},
		{
			Title: "Canaries that fail", Kind: board.Stat, Unit: "short", Steps: board.Zero(),
			Description: "Servers on which writing, finding and deleting a vector of our own failed last. Normal: 0. Which step it was is below.",
			Queries:     []board.Query{{Expr: `count(vectordb_canary_success{@} == 0) or vector(0)`, Legend: "failing"}},
		},
		{
			Title: "Worst recall", Kind: board.Stat, Unit: "percentunit", Max: 1, Decimals: 1, Steps: board.Bad(0.9, 0.95),
			Description: "Of the truly nearest vectors, how many a search finds, in the worst collection that is measured. Normal: above 95 %. Below: raise ef, rescore quantised vectors, or build the index anew.",
			Queries:     []board.Query{{Expr: `min(vectordb_search_recall_ratio{@, collection=~"$collection"})`, Legend: "recall"}},
		},
		{
			Title: "Objects", Kind: board.Stat, Unit: "short", Steps: []board.Step{{From: 0, Color: board.Blue}, {From: 1, Color: board.Blue}},
			Description: "Objects in all collections together. A fall that nobody ordered is a loss of data.",
			Queries:     []board.Query{{Expr: `sum(vectordb_collection_objects{@, collection=~"$collection"})`, Legend: "objects"}},
		},
		{
			Title: "Servers", Kind: board.Timeline, Width: 12, Height: 7, Unit: "short", Steps: board.Up(), States: board.Health,
			Description: "When each server answered a read. Red: it did not.",
			Queries:     []board.Query{{Expr: `vectordb_up{@}`, Legend: "{{instance}}"}},
		},
		{
			Title: "Time of the canary's steps, 90 of 100", Unit: "s", Height: 7,
			Description: "How long writing, reading, searching and deleting take from here. Normal: milliseconds. A rise is what users feel.",
			Queries:     []board.Query{{Expr: `histogram_quantile(0.9, sum by (instance, target, operation, le) (rate(vectordb_canary_operation_duration_seconds_bucket{@}[$__rate_interval]))) > 0`, Legend: "{{instance}} {{operation}}"}},
		},
	},
	Rows: []board.Row{
		{Title: "Collections", Panels: []board.Panel{
			{
				Title: "Objects by collection", Unit: "short",
				Description: "The ten largest collections. A step down that nobody ordered is a loss of data.",
				Queries:     []board.Query{{Expr: `topk(10, sum by (instance, target, collection) (vectordb_collection_objects{@, collection=~"$collection"}))`, Legend: "{{instance}} {{collection}}"}},
			},
			{
				Title: "Vectors that the index lacks", Unit: "short",
				Description: "Vectors that are stored and not indexed yet: searches go through them one by one, or miss them. Normal: 0 after a while. One that only grows: the optimiser is stuck or switched off.",
				Queries:     []board.Query{{Expr: `topk(10, vectordb_collection_vectors{@, collection=~"$collection"} - vectordb_collection_indexed_vectors{@, collection=~"$collection"})`, Legend: "{{instance}} {{collection}}"}},
			},
			{
				Title: "Status of collections", Kind: board.Table, Unit: "short", Labels: []string{"instance", "target", "collection", "status"},
				Description: "The status of each collection. ok is normal; optimizing for a while after many writes; error: look into the server's log.",
				Queries:     []board.Query{{Expr: `vectordb_collection_status{@, collection=~"$collection"} == 1`, Legend: "Now"}},
			},
			{
				Title: "Dimensions and distances", Kind: board.Table, Unit: "short", Labels: []string{"instance", "target", "collection", "vector", "distance", "index"},
				Description: "How each collection is set up. A change of dimensions or distance breaks whoever embeds for it.",
				Queries:     []board.Query{{Expr: `vectordb_vector_info{@, collection=~"$collection"}`, Legend: "Set"}},
			},
		}},
		{Title: "Quality of search", Panels: []board.Panel{
			{
				Title: "Recall", Unit: "percentunit", Max: 1, Steps: board.Bad(0.9, 0.95),
				Description: "Of the truly nearest vectors, how many a search finds. Only for collections that the configuration names.",
				Queries:     []board.Query{{Expr: `vectordb_search_recall_ratio{@, collection=~"$collection"}`, Legend: "{{instance}} {{collection}} {{vector}} of {{k}}"}},
			},
			{
				Title: "Vectors that find themselves", Unit: "percentunit", Max: 1, Steps: board.Bad(0.95, 0.99),
				Description: "Stored vectors that a search for themselves finds. Normal: 100 %. A fall tells of a damaged index before recall does.",
				Queries:     []board.Query{{Expr: `vectordb_search_self_hit_ratio{@, collection=~"$collection"}`, Legend: "{{instance}} {{collection}} {{vector}}"}},
			},
			{
				Title: "Until a written vector is found, 90 of 100", Unit: "s",
				Description: "Time from when the server took the canary's vector to when a search found it. Normal: milliseconds; seconds where indexing is put off.",
				Queries:     []board.Query{{Expr: `histogram_quantile(0.9, sum by (instance, target, le) (rate(vectordb_canary_freshness_seconds_bucket{@}[$__rate_interval])))`, Legend: "{{instance}}"}},
			},
			{
				Title: "Failures of the canary", Unit: "short",
				Description: "Steps of the canary that failed within an hour, by reason. Normal: none.",
				Queries:     []board.Query{{Expr: `sum by (instance, target, operation, reason) (increase(vectordb_canary_failures_total{@}[1h]))`, Legend: "{{instance}} {{operation}}: {{reason}}"}},
			},
		}},
		{Title: "Cluster", Panels: []board.Panel{
			{
				Title: "Peers", Unit: "short",
				Description: "Members of the cluster that answer, as each server sees it.",
				Queries:     []board.Query{{Expr: `sum by (instance, target) (vectordb_cluster_peer_up{@})`, Legend: "{{instance}}"}},
			},
			{
				Title: "Shards without an active replica", Unit: "short", Steps: board.Zero(),
				Description: "Shards that nobody can serve. Normal: 0. Searches of their collections are incomplete or fail.",
				Queries:     []board.Query{{Expr: `sum by (instance, target) (vectordb_collection_inactive_shards{@, collection=~"$collection"})`, Legend: "{{instance}}"}},
			},
		}},
	},
}
