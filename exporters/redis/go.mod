module github.com/alfred-agent-platform/backend-exporters/exporters/redis

go 1.26.0
