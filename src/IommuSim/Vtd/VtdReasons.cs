namespace IommuSim;

/// <summary>What devices behind a VT-d unit are told of why they were stopped, by VT-d's names.</summary>
public static class VtdReasons
{
    /// <summary>The reason as devices are told it.</summary>
    /// <param name="reason">Any reason.</param>
    /// <returns>Its number in the fault reason field.</returns>
    public static FaultCode ToCode(this VtdFaultReason reason) => new((ushort)reason);

    extension(DmaResult result)
    {
        /// <summary>
        /// Why the transfer was blocked; <see cref="VtdFaultReason.None"/> where the IOMMU let it through but no memory answered.
        /// </summary>
        public VtdFaultReason Reason => (VtdFaultReason)result.Fault.Value;
    }

    extension(DmaTransfer transfer)
    {
        /// <summary>
        /// Why the transfer does not go on, or why it has failed: of a page that was asked for the fault that the translation request
        /// met, which the unit does not record. <see cref="VtdFaultReason.None"/> where no memory answered, and where the unit does not
        /// translate at all and so answers no translation request.
        /// </summary>
        public VtdFaultReason Reason
        {
            get
            {
                ArgumentNullException.ThrowIfNull(transfer);
                return (VtdFaultReason)transfer.Fault.Value;
            }
        }
    }
}
