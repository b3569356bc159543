module fleet.nationtech.io/agent

go 1.26.0
