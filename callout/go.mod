module fleet.nationtech.io/callout

go 1.26.0
