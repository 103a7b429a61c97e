"""The style of the figure of the fleet."""

#: The style of every figure of the benchmarks, for light and dark pages.
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .head { font-size: 14px; font-weight: 600 }
  .small { font-size: 11px; fill: #57606a }
  .grid { stroke: #d0d7de }
  .others { fill: #8c959f; stroke: #8c959f }
  .ours { fill: #0969da; stroke: #0969da }
  .back { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .others { fill: #848d97; stroke: #848d97 }
    .ours { fill: #4493f8; stroke: #4493f8 }
    .back { fill: #0d1117 }
  }
"""
