module github.com/alfred-agent-platform/backend-exporters/exporters/smtp

go 1.26.0
