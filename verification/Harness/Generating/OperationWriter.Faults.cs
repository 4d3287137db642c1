using Vcmm.Spec;

namespace Harness.Generating;

// Fault hooks.
internal sealed partial class OperationWriter
{
    private SetFaultHook SetFaultHook()
    {
        if (_pcg.Next(3) == 0) _then = static w => new DispatchFaults();
        return new(Device(), One<FaultHookKind>([FaultHookKind.Refuse, FaultHookKind.Refuse, FaultHookKind.Retry, FaultHookKind.None]));
    }
}
