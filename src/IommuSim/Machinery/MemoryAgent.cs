namespace IommuSim.Machinery;

/// <summary>Who uses a port.</summary>
internal enum MemoryAgent : byte
{
    Processor,
    Device,
    Walker,
}
