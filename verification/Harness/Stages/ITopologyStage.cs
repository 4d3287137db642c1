using Harness.Scenarios;

namespace Harness.Stages;

/// <summary>A stage that can be told on which machine to run.</summary>
public interface ITopologyStage : IStage
{
    /// <summary>The same stage, on this machine alone.</summary>
    IStage On(Topology topology);
}
