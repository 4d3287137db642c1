namespace BareIommu;

/// <summary>The simulator driven by registers and memory alone, step by step. docs/simulator.md explains it and shows what is printed.</summary>
public static class Tour
{
    /// <summary>Runs every part.</summary>
    /// <param name="output">Where each says what happens; always the same.</param>
    public static void Run(TextWriter output)
    {
        ArgumentNullException.ThrowIfNull(output);
        FirstTransfer.Run(output);
        AddressSpaces.Run(output);
        DeviceTlb.Run(output);
        DeviceKinds.Run(output);
        OneStepBetween.Run(output);
        LegalHardware.Run(output);
        Cores.Run(output);
    }
}
