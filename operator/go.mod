module fleet.nationtech.io/operator

go 1.26.0
