// Package redis will be the exporter for Redis and Valkey. There is nothing here yet but its place in the workspace.
package redis
