module github.com/alfred-agent-platform/backend-exporters/exporters/vector-db

go 1.26.0
