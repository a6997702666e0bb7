package main

import (
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
)

// catalogue lists all collectors in reading order. The server is the host:port that a few established families carry
// as a label.
//
// Names, types and labels are those of prometheus-community/postgres_exporter, and a collector is named as there, so
// that dashboards, alerts and flags made for it go on working. testdata/differences.md says where we differ and why.
func catalogue(server string, o statementOptions) (collect.Catalogue, error) {
	return compile([]part{
		// catalogue_server.go
		static(server), postmaster, settings{}, roles, bufferCache,
		// catalogue_security.go
		configuration, extensions, sslSessions, gssSessions,
		// catalogue_activity.go
		activity, processIdle{}, longTransactions, preparedTransactions, locks, autovacuumWorkers, vacuumProgress,
		// catalogue_sessions.go
		waits, idleTransactions, blockedSessions, blockingSessions, oldestTransactions,
		// catalogue_progress.go
		analyzeProgress, createIndexProgress, clusterProgress, copyProgress, basebackupProgress,
		// catalogue_database.go
		databases, wraparound, databaseStats, databaseConflicts(server), blockIO,
		// catalogue_wal.go
		walFiles, walLocation, walStats, archiver, backgroundWriter, checkpointer,
		// catalogue_io.go
		slru, recoveryPrefetch, archiveStatus, sharedMemory,
		// catalogue_replication.go
		replication, replicas, slots, walReceiver,
		// catalogue_logical.go
		slotStats, subscriptions, subscriptionStats, subscriptionTables, publications,
		// catalogue_tables.go
		tables, tableSizes, tableBlocks, indexBlocks,
		// catalogue_maintenance.go
		autovacuum, autovacuumDue, freezing, sequences, invalidIndexes, indexWaste, indexStats, functions,
		// catalogue_space.go
		relationKinds, toastSizes, bloat, indexBloat,
		// catalogue_vector.go
		vectorIndexes,
		// catalogue_statements.go
		statements(o), statementTexts(o), statementsInfo,
	})
}

// namesServer tells the collectors that carry the server as a label; all others are the same for every server.
func namesServer(c *collect.Collector) bool {
	return c.Name == staticName || c.Name == databaseConflictsName
}

// part is what a catalogue is made of: a table, or something that reads like one.
type part interface {
	Collector() (*collect.Collector, error)
}

func compile(parts []part) (collect.Catalogue, error) {
	list := make(collect.Catalogue, 0, len(parts))
	for _, part := range parts {
		collector, err := part.Collector()
		if err != nil {
			return nil, err
		}
		list = append(list, collector)
	}
	return list, list.Check()
}
